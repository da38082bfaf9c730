import { once } from 'node:events';
import { Worker } from 'node:worker_threads';

/** Larger than the caches of any board slmd knows, all workers together. */
const bytesMax = 256e6;
/** A board that is short of memory must not be made shorter. */
const shareOfAvailable = 1 / 8;
const measureMs = 250;

/** Comparing equal buffers reads both, as fast as the processor can: no other call of Node's only reads. */
const reader = `
const { parentPort, workerData: { bytes, ms } } = require('node:worker_threads');
const [a, b] = [Buffer.alloc(bytes, 1), Buffer.alloc(bytes, 1)];
parentPort.once('message', () => {
  const start = performance.now();
  let read = 0;
  do { a.equals(b); read += 2 * bytes; } while (performance.now() - start < ms);
  parentPort.postMessage(read / ((performance.now() - start) / 1000));
});
parentPort.postMessage('ready');
`;

/**
 * Bytes per second that this board's memory can be read with, all cores together.
 *
 * @param availableBytes what is free; null where the board does not say
 */
export async function readBandwidth(cores: number, availableBytes: number | null): Promise<number> {
  const total = Math.min(bytesMax, (availableBytes ?? bytesMax) * shareOfAvailable);
  const bytes = Math.floor(total / cores / 2);
  const options = { eval: true, workerData: { bytes, ms: measureMs } };
  const workers = Array.from({ length: cores }, () => new Worker(reader, options));
  try {
    await Promise.all(workers.map((worker) => once(worker, 'message')));
    const rates = workers.map(async (worker) => {
      worker.postMessage('go');
      const [rate] = (await once(worker, 'message')) as [number];
      return rate;
    });
    return (await Promise.all(rates)).reduce((sum, rate) => sum + rate, 0);
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}
