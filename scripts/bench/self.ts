import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { readBandwidth } from '../../src/doctor/bandwidth.ts';
import { type Manifest, manifestFile } from '../../src/model/manifest.ts';
import { kvBytes, type ModelSize, weightBytes } from '../../src/model/memory-need.ts';
import { contextLength, promptOf } from './measures.ts';
import { type BenchModels, type BlockSize, blockSizes } from './models/build.ts';
import type { Clock } from './peers/peer.ts';
import { PeerProcess } from './peers/peer-process.ts';
import { median } from './statistics.ts';
import { rounded, table } from './table.ts';

export interface SelfOptions {
  threads: number;
  clock: Clock;
  rounds: number;
  decodeTokens: number;
  onProgress(done: number, total: number): void;
}

/** slmd alone: decoding by the length of the context, for every block size. */
export interface SelfResult {
  shape: string;
  /** Bytes per second with as many threads, read right before each round. */
  bandwidths: number[];
  cells: { blockSize: BlockSize; context: number; tokensPerSecond: number[]; bytesPerToken: number }[];
  /** Tokens per second of so many prompts together, at block 32. */
  rows: { count: number; tokensPerSecond: number[] }[];
}

const contexts = [16, 128, 512, 2048] as const;
const rowCounts = [1, 2, 4] as const;
const rowsContext = 128;
const rowsGainMin = 2.2;

/** Block sizes take turns at each context, so that what else the machine does meets all alike. */
export async function measureSelf(
  shape: string,
  models: BenchModels,
  options: SelfOptions,
): Promise<SelfResult> {
  const cells = contexts.flatMap((context) =>
    blockSizes.map((blockSize) => ({
      blockSize,
      context,
      tokensPerSecond: [] as number[],
      bytesPerToken: bytesPerToken(models.slmd[blockSize], context),
    })),
  );
  const rows = rowCounts.map((count) => ({ count, tokensPerSecond: [] as number[] }));
  const result: SelfResult = { shape, bandwidths: [], cells, rows };
  const open = new Map<BlockSize, PeerProcess>();
  try {
    for (const blockSize of blockSizes) open.set(blockSize, await openSlmd(models.slmd[blockSize], options));
    for (let round = 0; round < options.rounds; round++) {
      result.bandwidths.push(await readBandwidth(Math.min(options.threads, availableParallelism()), null));
      for (const { blockSize, context, tokensPerSecond } of cells) {
        const prompt = promptOf(round)(context);
        const { intervals_ms } = await open.get(blockSize)!.answer(prompt, options.decodeTokens + 1);
        tokensPerSecond.push(1000 / median(intervals_ms));
      }
      for (const { count, tokensPerSecond } of rows) {
        const prompts = Array.from({ length: count }, (_, row) => promptOf(round * count + row)(rowsContext));
        tokensPerSecond.push(await open.get(32)!.together(prompts, options.decodeTokens + 1));
      }
      options.onProgress(round + 1, options.rounds);
    }
  } finally {
    await Promise.all([...open.values()].map((peer) => peer.close()));
  }
  return result;
}

async function openSlmd(model: string, { threads, clock }: SelfOptions): Promise<PeerProcess> {
  const peer = await PeerProcess.open('slmd', {
    model,
    packages: '',
    threads,
    clock,
    rows: Math.max(...rowCounts),
    contextLength,
  });
  await peer.answer(promptOf(0)(16), 8);
  return peer;
}

/** Every weight once, and every cached token. */
function bytesPerToken(model: string, context: number): number {
  const size = modelSize(model);
  return weightBytes(size) + kvBytes(size, context);
}

/** What the manifest says of a model's size. */
export function modelSize(model: string): ModelSize {
  const manifest = JSON.parse(readFileSync(join(model, manifestFile), 'utf8')) as Manifest;
  const { geometry, parameters, quantization } = manifest;
  const { layers, kv_heads, head_size } = geometry;
  const { bits, block_size } = quantization;
  return { parameters, bits, block_size, layers, kv_heads, head_size };
}

/** A row for each context: tokens per second and the share of the memory's bandwidth, and what blocks win. */
export function selfTable({ shape, bandwidths, cells }: SelfResult): string {
  const bandwidth = median(bandwidths);
  const rows = contexts.map((context) => {
    const here = cells.filter((cell) => cell.context === context);
    const [block32] = here.map(({ tokensPerSecond }) => median(tokensPerSecond));
    const columns = here.flatMap(({ tokensPerSecond, bytesPerToken: bytes }) => {
      const speed = median(tokensPerSecond);
      return [
        rounded(speed),
        `${((100 * speed * bytes) / bandwidth).toFixed(0)} %`,
        `${(speed / block32!).toFixed(2)}×`,
      ];
    });
    return [`decode, context ${context}`, ...columns];
  });
  const head = blockSizes.flatMap((blockSize) => [`block ${blockSize}`, 'of memory', '']);
  return table([[`${shape}, tokens/s`, ...head], ...rows]);
}

/** What several prompts at once gain over one. */
export function rowsTable({ shape, rows }: SelfResult): string {
  const [alone] = rows.map(({ tokensPerSecond }) => median(tokensPerSecond));
  const lines = rows.map(({ count, tokensPerSecond }) => {
    const speed = median(tokensPerSecond);
    const target = count === Math.max(...rowCounts) ? `≥ ${rowsGainMin}×` : '';
    return [
      `${count} at once, context ${rowsContext}`,
      rounded(speed),
      `${(speed / alone!).toFixed(2)}×`,
      target,
    ];
  });
  return table([[`${shape}, tokens/s together`, '', '', 'target'], ...lines]);
}
