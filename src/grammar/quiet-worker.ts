import type { TransferListItem } from 'node:worker_threads';
import { Worker } from 'node:worker_threads';

/**
 * A thread whose output nobody sees: the library in it writes what it thinks of a schema, and a schema is what
 * somebody wrote in confidence. It is read, too, or it would be kept.
 */
export function quietWorker(file: URL, workerData: unknown, transferList: TransferListItem[]): Worker {
  const worker = new Worker(file, { workerData, transferList, stdout: true, stderr: true });
  worker.stdout.resume();
  worker.stderr.resume();
  return worker;
}
