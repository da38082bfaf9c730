import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { readBandwidth } from '../../src/doctor/bandwidth.ts';
import { type Manifest, manifestFile } from '../../src/model/manifest.ts';
import { kvBytes, type ModelSize, sizeOf, weightBytes } from '../../src/model/memory-need.ts';
import { contextLength, promptOf } from './measures.ts';
import { type BenchModels, type LayoutName, layoutNames } from './models/build.ts';
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

/** slmd alone: by the length of the context, for every layout. */
export interface SelfResult {
  shape: string;
  /** Bytes per second with as many threads, read right before each round. */
  bandwidths: number[];
  cells: SelfCell[];
  /** Tokens per second of so many prompts together, at block 32. */
  rows: { count: number; tokensPerSecond: number[] }[];
}

export interface SelfCell {
  layout: LayoutName;
  context: number;
  /** Of the prompt, until the first token. */
  prefillTokensPerSecond: number[];
  /** Of the answer. */
  tokensPerSecond: number[];
  bytesPerToken: number;
}

const contexts = [16, 128, 512, 2048] as const;
const rowCounts = [1, 2, 4] as const;
const rowsContext = 128;
const rowsGainMin = 2.2;

/** Layouts take turns at each context, so that what else the machine does meets all alike. */
export async function measureSelf(
  shape: string,
  models: BenchModels,
  options: SelfOptions,
): Promise<SelfResult> {
  const cells = contexts.flatMap((context) =>
    layoutNames.map((layout) => ({
      layout,
      context,
      prefillTokensPerSecond: [] as number[],
      tokensPerSecond: [] as number[],
      bytesPerToken: bytesPerToken(models.slmd[layout], context),
    })),
  );
  const rows = rowCounts.map((count) => ({ count, tokensPerSecond: [] as number[] }));
  const result: SelfResult = { shape, bandwidths: [], cells, rows };
  const open = new Map<LayoutName, PeerProcess>();
  try {
    for (const layout of layoutNames) open.set(layout, await openSlmd(models.slmd[layout], options));
    for (let round = 0; round < options.rounds; round++) {
      result.bandwidths.push(await readBandwidth(Math.min(options.threads, availableParallelism()), null));
      for (const { layout, context, prefillTokensPerSecond, tokensPerSecond } of cells) {
        const prompt = promptOf(round)(context);
        const { ttft_ms, intervals_ms } = await open.get(layout)!.answer(prompt, options.decodeTokens + 1);
        prefillTokensPerSecond.push((1000 * context) / ttft_ms);
        tokensPerSecond.push(1000 / median(intervals_ms));
      }
      for (const { count, tokensPerSecond } of rows) {
        const prompts = Array.from({ length: count }, (_, row) => promptOf(round * count + row)(rowsContext));
        tokensPerSecond.push(await open.get('block 32')!.together(prompts, options.decodeTokens + 1));
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
  return sizeOf(JSON.parse(readFileSync(join(model, manifestFile), 'utf8')) as Manifest);
}

/** A row for each context: tokens per second and the share of the memory's bandwidth, and what a layout wins. */
export function selfTable({ shape, bandwidths, cells }: SelfResult): string {
  const bandwidth = median(bandwidths);
  const decoding = contexts.map((context) => {
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
  const prefilling = contexts.map((context) => {
    const speeds = cells
      .filter((cell) => cell.context === context)
      .map(({ prefillTokensPerSecond }) => median(prefillTokensPerSecond));
    const columns = speeds.flatMap((speed) => [rounded(speed), '', `${(speed / speeds[0]!).toFixed(2)}×`]);
    return [`prefill, ${context} tokens`, ...columns];
  });
  const head = layoutNames.flatMap((name) => [name, 'of memory', '']);
  return table([[`${shape}, tokens/s`, ...head], ...decoding, ...prefilling]);
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
