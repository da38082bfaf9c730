import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Sequence } from '../../src/onnx/decoder.ts';
import { NativeSession, openLibrary, useHugePages } from '../../src/onnx/ffi/index.ts';
import { NativeRows } from '../../src/onnx/native-rows.ts';
import { sessionOptions } from '../../src/onnx/session-options.ts';
import { contextLength, promptOf } from './measures.ts';
import { median } from './statistics.ts';
import { rounded, table } from './table.ts';

/** Where the time of a run goes, by ONNX Runtime's own stamps. */
export interface Profile {
  shape: string;
  layout: string;
  phases: Phase[];
}

export interface Phase {
  name: string;
  /** Milliseconds of a run, by what it is spent on; of each node the median of several runs. */
  ms: Map<string, number>;
}

const rows = 4;
const chunk = 128;
const timesEach = 9;

/** What is run, after a prompt of so many tokens in every row. */
const phases: readonly { name: string; context: number; run(rows: readonly Sequence[]): Promise<unknown> }[] =
  [
    { name: '128 tokens', context: 0, run: ([row]) => row!.forward(promptOf(1)(chunk)) },
    { name: '128 more of 512', context: 384, run: ([row]) => row!.forward(promptOf(1)(chunk)) },
    { name: 'a token at 128', context: 128, run: ([row]) => row!.forward([1]) },
    { name: 'four rows at 128', context: 128, run: (all) => Promise.all(all.map((row) => row.forward([1]))) },
    { name: 'a token at 2,048', context: 2048, run: ([row]) => row!.forward([1]) },
  ];

export async function measureProfile(
  shape: string,
  layout: string,
  model: string,
  threads: number,
): Promise<Profile> {
  const dir = mkdtempSync(join(tmpdir(), 'slmd-profile-'));
  const session = await NativeSession.create(openLibrary(), join(model, 'model.onnx'), {
    ...sessionOptions({ threads, spinUs: 0 }),
    enableProfiling: true,
    profileFilePrefix: join(dir, 'profile'),
  });
  await useHugePages(session.library);
  const decoder = new NativeRows(session, contextLength, rows);
  try {
    // One number for each run that the profile will have: that of its phase, or none.
    const phaseOfRun: (number | null)[] = [];
    for (const [number, { context, run }] of phases.entries()) {
      for (const row of decoder.rows) row.reset();
      for (const row of context === 2048 ? decoder.rows.slice(0, 1) : decoder.rows)
        for (let start = 0; start < context; start += chunk) {
          await row.forward(promptOf(1)(chunk));
          phaseOfRun.push(null);
        }
      for (let time = 0; time <= timesEach; time++) {
        const lengths = decoder.rows.map(({ length }) => length);
        await run(decoder.rows);
        for (const [i, row] of decoder.rows.entries()) row.rewind(lengths[i]!);
        phaseOfRun.push(time === 0 ? null : number);
      }
    }
    const events = JSON.parse(readFileSync(session.endProfiling(), 'utf8')) as ProfileEvent[];
    return {
      shape,
      layout,
      phases: phases.map(({ name }, number) => ({ name, ms: timesOf(events, phaseOfRun, number) })),
    };
  } finally {
    await decoder.dispose();
    rmSync(dir, { recursive: true, force: true });
  }
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
  const runs = events.filter(({ name }) => name === 'model_run').sort((a, b) => a.ts - b.ts);
  if (runs.length !== phaseOfRun.length)
    throw new Error(`the profile has ${runs.length} runs, not ${phaseOfRun.length}`);
  const chosen = runs.filter((_, i) => phaseOfRun[i] === phase);
  /** Of each node, how long it took in each of the runs. */
  const nodes = new Map<string, { what: string; us: number[] }>();
  for (const { cat, name, ts, dur, args } of events) {
    if (cat !== 'Node' || !name.endsWith('_kernel_time')) continue;
    if (!chosen.some((run) => ts >= run.ts && ts < run.ts + run.dur)) continue;
    const node = nodes.get(name) ?? { what: kindOf(name, args?.op_name ?? ''), us: [] };
    node.us.push(dur);
    nodes.set(name, node);
  }
  const ms = new Map<string, number>();
  for (const { what, us } of nodes.values()) ms.set(what, (ms.get(what) ?? 0) + median(us) / 1000);
  const kernels = [...ms.values()].reduce((sum, one) => sum + one, 0);
  ms.set(between, Math.max(0, median(chosen.map(({ dur }) => dur)) / 1000 - kernels));
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
