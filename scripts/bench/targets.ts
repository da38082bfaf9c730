import type { Comparison } from './compare.ts';
import type { Measure } from './measures.ts';
import type { Column } from './peers/peers.ts';
import { medianOf, ratioOf } from './report.ts';
import { rounded, table } from './table.ts';

/** What slmd sets out to reach against a peer: this many times better. */
interface Target {
  column: Column;
  measures: readonly Measure[];
  /** By shape. */
  atLeast: Record<string, number>;
}

const [smollm2, qwen] = ['smollm2-135m', 'qwen2.5-0.5b'] as const;

const targets: readonly Target[] = [
  {
    column: 'llama.cpp',
    measures: ['decode_128', 'decode_2048'],
    atLeast: { [smollm2]: 2, [qwen]: 1.3 },
  },
  { column: 'llama.cpp', measures: ['prefill_128', 'prefill_512'], atLeast: { [smollm2]: 1, [qwen]: 1 } },
  { column: 'transformers.js', measures: ['decode_2048'], atLeast: { [smollm2]: 2.5, [qwen]: 2.5 } },
  { column: 'onnxruntime-node', measures: ['decode_128'], atLeast: { [smollm2]: 1.6, [qwen]: 1 } },
  { column: 'onnxruntime-node', measures: ['decode_2048'], atLeast: { [smollm2]: 2, [qwen]: 2 } },
];

const layoutGainMin = 1.25;
const cachedShareMax = 0.08;
const cancelMsMax = 100;

/** One line for each target that was measured. */
export function targetTable(comparisons: readonly Comparison[]): string {
  const rows = comparisons.flatMap((comparison) => [
    ...targets.flatMap(({ column, measures, atLeast }) =>
      measures.map((measure) => {
        const [least, ratio] = [atLeast[comparison.shape], ratioOf(comparison, column, measure)];
        if (least === undefined || ratio === undefined) return null;
        return line(comparison, `${measure} against ${column}`, `≥ ${least}×`, ratio, '×', ratio >= least);
      }),
    ),
    layoutLine(comparison),
    cachedLine(comparison),
    cancelLine(comparison),
  ]);
  return table(rows.filter((row) => row !== null));
}

/** What slmd's own coarser weights win over those that its peers have, too. */
function layoutLine(comparison: Comparison): string[] | null {
  const gain = ratioOf(comparison, 'slmd', 'decode_128', 'slmd block 128');
  if (gain === undefined) return null;
  const what = 'decode_128, blocks of 128 against 32';
  return line(comparison, what, `≥ ${layoutGainMin}×`, gain, '×', gain >= layoutGainMin);
}

function cachedLine(comparison: Comparison): string[] | null {
  const cached = medianOf(comparison, 'slmd', 'ttft_cached');
  const cold = medianOf(comparison, 'slmd', 'ttft_cold');
  if (cached === undefined || cold === undefined) return null;
  const share = cached / cold;
  return line(
    comparison,
    'TTFT, cached against cold',
    `≤ ${cachedShareMax}×`,
    share,
    '×',
    share <= cachedShareMax,
  );
}

function cancelLine(comparison: Comparison): string[] | null {
  const ms = medianOf(comparison, 'slmd', 'cancel');
  if (ms === undefined) return null;
  return line(comparison, 'cancel', `≤ ${cancelMsMax} ms`, ms, ' ms', ms <= cancelMsMax);
}

function line(
  { shape }: Comparison,
  what: string,
  target: string,
  value: number,
  unit: string,
  met: boolean,
): string[] {
  return [`${shape}: ${what}`, target, `${rounded(value)}${unit}`, met ? 'met' : 'MISSED'];
}
