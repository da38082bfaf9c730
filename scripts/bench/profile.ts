import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { takeAttentionPath } from '../../src/onnx/attention-path.ts';
import type { Sequence } from '../../src/onnx/decoder.ts';
import { NativeSession, openLibrary, useHugePages } from '../../src/onnx/ffi/index.ts';
import { readGraphFile } from '../../src/onnx/graph-file.ts';
import { readGraphInterface } from '../../src/onnx/graph-interface.ts';
import { NativeRows } from '../../src/onnx/native-rows.ts';
import { sessionOptions } from '../../src/onnx/session-options.ts';
import { contextLength, promptOf } from './measures.ts';
import { rounded, table } from './table.ts';

/** Where the time of a run goes, by ONNX Runtime's own stamps. */
export interface Profile {
  shape: string;
  layout: string;
  phases: Phase[];
}

export interface Phase {
  name: string;
  /** Milliseconds of a run, by what it is spent on; of each node the least of several runs, whatever else the machine does. */
  ms: Map<string, number>;
}

const chunk = 128;
const timesEach = 9;

/** Runs of so many rows by so many tokens, each row with a prompt of so many before. */
const runs: readonly { name: string; context: number; rows: number; tokens: number }[] = [
  { name: '128 tokens', context: 0, rows: 1, tokens: chunk },
  { name: '128 more of 512', context: 384, rows: 1, tokens: chunk },
  { name: 'a token at 128', context: 128, rows: 1, tokens: 1 },
  { name: 'four rows at 128', context: 128, rows: 4, tokens: 1 },
  { name: 'a token at 2,048', context: 2048, rows: 1, tokens: 1 },
];

export async function measureProfile(
  shape: string,
  layout: string,
  model: string,
  threads: number,
): Promise<Profile> {
  const dir = mkdtempSync(join(tmpdir(), 'slmd-profile-'));
  const graph = join(model, 'model.onnx');
  const file = readGraphFile(graph);
  takeAttentionPath(file, { contextLength });
  const session = await NativeSession.create(openLibrary(), graph, {
    ...sessionOptions({ threads, spinUs: 0 }),
    enableProfiling: true,
    profileFilePrefix: join(dir, 'profile'),
  });
  await useHugePages(session.library);
  const rows = Math.max(...runs.map(({ rows }) => rows));
  const decoder = new NativeRows(session, readGraphInterface(file), contextLength, rows);
  try {
    const phaseOfRun = await runAll(decoder.rows);
    const events = JSON.parse(readFileSync(session.endProfiling(), 'utf8')) as ProfileEvent[];
    const phases = runs.map(({ name }, phase) => ({ name, ms: timesOf(events, phaseOfRun, phase) }));
    return { shape, layout, phases };
  } finally {
    await decoder.dispose();
    rmSync(dir, { recursive: true, force: true });
  }
}

/** One number for each run that the profile will have: that of its phase, or null where it only prepares one. */
async function runAll(rows: readonly Sequence[]): Promise<(number | null)[]> {
  const phaseOfRun: (number | null)[] = [];
  for (const [phase, { context, rows: count, tokens }] of runs.entries()) {
    const used = rows.slice(0, count);
    for (const row of rows) row.reset();
    for (const row of used)
      for (let start = 0; start < context; start += chunk) {
        await row.forward(promptOf(1)(chunk));
        phaseOfRun.push(null);
      }
    for (let time = 0; time <= timesEach; time++) {
      await Promise.all(used.map((row) => row.forward(promptOf(1)(tokens))));
      for (const row of used) row.rewind(context);
      phaseOfRun.push(time === 0 ? null : phase);
    }
  }
  return phaseOfRun;
}

/** An event of ONNX Runtime's profile; times are microseconds. */
interface ProfileEvent {
  cat: string;
  name: string;
  ts: number;
  dur: number;
  args?: { op_name?: string };
}

function timesOf(
  events: readonly ProfileEvent[],
  phaseOfRun: readonly (number | null)[],
  phase: number,
): Map<string, number> {
  const all = events.filter(({ name }) => name === 'model_run').sort((a, b) => a.ts - b.ts);
  if (all.length !== phaseOfRun.length)
    throw new Error(`the profile has ${all.length} runs, not ${phaseOfRun.length}`);
  /** Of each node, the least that it took. */
  const nodes = new Map<string, { what: string; us: number }>();
  let gap = Number.POSITIVE_INFINITY;
  for (const run of all.filter((_, i) => phaseOfRun[i] === phase)) {
    let kernels = 0;
    for (const { cat, name, ts, dur, args } of events) {
      if (cat !== 'Node' || !name.endsWith('_kernel_time') || ts < run.ts || ts >= run.ts + run.dur) continue;
      kernels += dur;
      const us = Math.min(dur, nodes.get(name)?.us ?? dur);
      nodes.set(name, { what: kindOf(name, args?.op_name ?? ''), us });
    }
    gap = Math.min(gap, run.dur - kernels);
  }
  const ms = new Map([[between, gap / 1000]]);
  for (const { what, us } of nodes.values()) ms.set(what, (ms.get(what) ?? 0) + us / 1000);
  return ms;
}

/** What is between the kernels of a run: ONNX Runtime's allocations, and what the profile itself costs. */
const between = 'between operators';

/** Matrices by what they are for, everything else by its operator. */
function kindOf(name: string, operator: string): string {
  if (operator !== 'MatMulNBits') return operator;
  const [, matrix] = /\.(attention\.qkv|attention\.out|mlp\.\w+)\.output/.exec(name) ?? [];
  return matrix === undefined ? 'matrix: head' : `matrix: ${matrix}`;
}

/** Milliseconds and shares, the largest first. */
export function profileTable({ shape, layout, phases: measured }: Profile): string {
  const kinds = [...new Set(measured.flatMap(({ ms }) => [...ms.keys()]))];
  const totals = measured.map(({ ms }) => [...ms.values()].reduce((sum, one) => sum + one, 0));
  const weight = (kind: string) =>
    measured.reduce((sum, { ms }, i) => sum + (ms.get(kind) ?? 0) / totals[i]!, 0);
  const cells = (kind: string) =>
    measured.flatMap(({ ms }, i) => {
      const one = ms.get(kind);
      return one === undefined ? ['', ''] : [rounded(one), `${((100 * one) / totals[i]!).toFixed(1)} %`];
    });
  return table([
    [`${shape}, ${layout}, ms`, ...measured.flatMap(({ name }) => [name, ''])],
    ...kinds.sort((a, b) => weight(b) - weight(a)).map((kind) => [kind, ...cells(kind)]),
    ['together', ...totals.flatMap((total) => [rounded(total), ''])],
  ]);
}
