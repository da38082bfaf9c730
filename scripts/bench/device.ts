import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readConfiguration } from '../../src/cli/configuration.ts';
import { connectRequester } from '../../src/cli/requester.ts';
import { withoutSettings } from '../../src/config/environment.ts';
import { kvBytes, weightBytes } from '../../src/model/memory-need.ts';
import { type EmbeddedBroker, startEmbeddedBroker } from '../../src/mqtt/embedded-broker.ts';
import type { Requester } from '../../src/mqtt/requester.ts';
import { buildAll } from '../build.ts';
import { promptOf } from './measures.ts';
import { PeerProcess } from './peers/peer-process.ts';
import { memoryOf, type ProcessMemory, sumOf } from './process-memory.ts';
import { modelSize } from './self.ts';
import { median } from './statistics.ts';
import { rounded, table } from './table.ts';

/** A whole device beside its bare decoder, with the same model. */
export interface DeviceResult {
  shape: string;
  /** Mean time from token to token of each answer: streamed over MQTT, and of the decoder in a process of its own. */
  device_tpot_ms: number[];
  bare_tpot_ms: number[];
  /** The two processes when they had answered. */
  engine: ProcessMemory;
  daemon: ProcessMemory;
  packed_bytes: number;
  kv_bytes: number;
}

const device = 'bench';
const promptTokens = 128;
const answerTokens = 96;
const readyMs = 120_000;
const answerMs = 300_000;

/** The two take turns, an answer each. */
export async function measureDevice(
  shape: string,
  model: string,
  threads: number,
  rounds: number,
): Promise<DeviceResult> {
  const dist = mkdtempSync(join(tmpdir(), 'slmd-bench-'));
  await buildAll(join(import.meta.dirname, '..', '..', 'dist'));
  const broker = await startEmbeddedBroker();
  const daemon = startDaemon(broker, dist, model, threads);
  const bare = await PeerProcess.open('slmd', {
    model,
    packages: '',
    threads,
    clock: 'wall',
    contextLength: promptTokens + answerTokens + 64,
  });
  const { config } = readConfiguration(null, { SLMD_MQTT_URL: broker.url });
  const requester = await connectRequester(config);
  const size = modelSize(model);
  const result: DeviceResult = {
    shape,
    device_tpot_ms: [],
    bare_tpot_ms: [],
    engine: sumOf(''),
    daemon: sumOf(''),
    packed_bytes: weightBytes(size),
    kv_bytes: kvBytes(size, promptTokens + answerTokens),
  };
  try {
    await requester.ready(device, AbortSignal.timeout(readyMs));
    for (let round = 0; round <= rounds; round++) {
      const tpot = await askDevice(requester, round);
      const { intervals_ms } = await bare.answer(promptOf(round)(promptTokens), answerTokens);
      // The first of each compiles what the others find.
      if (round === 0) continue;
      result.device_tpot_ms.push(tpot);
      result.bare_tpot_ms.push(intervals_ms.reduce((sum, ms) => sum + ms, 0) / intervals_ms.length);
    }
    result.daemon = memoryOf(daemon.pid!);
    const [engine] = childrenOf(daemon);
    if (engine !== undefined) result.engine = memoryOf(engine);
    return result;
  } finally {
    await requester.close();
    await bare.close();
    await stopDaemon(daemon);
    await broker.stop();
    rmSync(dist, { recursive: true, force: true });
  }
}

async function askDevice(requester: Requester, round: number): Promise<number> {
  // A letter and its space are two tokens of the shipped tokenizer, and the chat template adds a few.
  const prompt = `${String.fromCharCode('a'.charCodeAt(0) + (round % 26))} `.repeat(promptTokens / 2);
  const request = { id: `bench-${round}`, prompt, max_tokens: answerTokens, stream: true, temperature: 0 };
  const result = await requester.ask(device, request, {}, AbortSignal.timeout(answerMs));
  const tpot = result.timings?.tpot_ms;
  if (result.status !== 'ok' || typeof tpot !== 'number')
    throw new Error(`the device answered with ${result.error?.message ?? result.status}`);
  return tpot;
}

/** As it runs on a board, told where the broker and the model are. */
function startDaemon(broker: EmbeddedBroker, state: string, model: string, threads: number): ChildProcess {
  const settings = {
    SLMD_CONFIG: '/dev/null',
    SLMD_MQTT_URL: broker.url,
    SLMD_DEVICE: device,
    SLMD_LOG_LEVEL: 'error',
    SLMD_JOURNAL_DIR: state,
    CACHE_DIRECTORY: state,
    SLMD_MODEL_DIR: model,
    SLMD_ENGINE_THREADS: String(threads),
    // As the bare decoder, and each row would keep the KV cache of its last prompt.
    SLMD_ENGINE_ROWS: '1',
    // What systemd and the unit give a service; nobody listens there.
    NOTIFY_SOCKET: '/nowhere/notify',
    MALLOC_ARENA_MAX: '1',
  };
  const entry = join(import.meta.dirname, '..', '..', 'dist', 'slmd.js');
  return spawn(process.execPath, [entry, 'run'], {
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...withoutSettings(), ...settings },
  });
}

async function stopDaemon(daemon: ChildProcess): Promise<void> {
  if (daemon.exitCode !== null || daemon.signalCode !== null) return;
  daemon.kill('SIGTERM');
  await once(daemon, 'exit');
}

function childrenOf({ pid }: ChildProcess): number[] {
  return readdirSync(`/proc/${pid}/task`).flatMap((task) =>
    readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').split(' ').filter(Boolean).map(Number),
  );
}

/** What slmd sets out to stay below. */
const overheadMax = 0.05;
const beyondModelBytesMax = 80e6;

export function deviceTable(results: readonly DeviceResult[]): string {
  const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(0)} MB`;
  const rows = results.flatMap((result) => {
    const { shape, engine, daemon } = result;
    const [whole, bare] = [median(result.device_tpot_ms), median(result.bare_tpot_ms)];
    const model = result.packed_bytes + result.kv_bytes;
    const { node, onnxruntime, ...files } = engine.file_bytes;
    const percent = (part: number) => `${(100 * part).toFixed(1)} %`;
    const beyond = `≤ ${megabytes(beyondModelBytesMax)}`;
    return [
      [`${shape}: a token, bare`, `${rounded(bare)} ms`, '', ''],
      [
        `${shape}: a token, over MQTT`,
        `${rounded(whole)} ms`,
        `+ ${percent(whole / bare - 1)}`,
        `≤ ${percent(overheadMax)}`,
      ],
      [
        `${shape}: the engine's memory`,
        megabytes(engine.resident_bytes),
        `+ ${megabytes(engine.resident_bytes - model)}`,
        beyond,
      ],
      ['  packed weights', megabytes(result.packed_bytes), '', ''],
      ['  KV cache', megabytes(result.kv_bytes), '', ''],
      ["  the rest of the engine's own", megabytes(engine.own_bytes - model), '', ''],
      ["  Node's code", megabytes(node), '', ''],
      ["  ONNX Runtime's code", megabytes(onnxruntime), '', ''],
      ['  the embedding, as far as it was read', megabytes(files.model), '', ''],
      ['  other libraries', megabytes(files.other), '', ''],
      [`${shape}: the daemon's memory`, megabytes(daemon.resident_bytes), '', ''],
      ["  the daemon's own", megabytes(daemon.own_bytes), '', ''],
    ];
  });
  return table([['a whole device', '', 'more', 'target'], ...rows]);
}
