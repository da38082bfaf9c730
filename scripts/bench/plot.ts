import { byColumn, type Comparison } from './compare.ts';
import type { Measure } from './measures.ts';
import { type Column, columns } from './peers/peers.ts';
import { medianOf } from './report.ts';
import { rounded } from './table.ts';

const plotted: readonly [Measure, string][] = [
  ['decode_128', 'decode, context 128'],
  ['decode_2048', 'decode, context 2048'],
  ['prefill_128', 'prefill, 128 tokens'],
  ['prefill_512', 'prefill, 512 tokens'],
];
const colours: Record<Column, string> = {
  slmd: '#0b6e4f',
  'slmd block 128': '#58a689',
  'onnxruntime-node': '#9aa5b1',
  'transformers.js': '#d9a441',
  'llama.cpp': '#7a5c99',
};
const [panelWidth, barHeight, gap, labelWidth] = [430, 20, 30, 120];

/** Bars of tokens per second: a column of panels for each shape, each panel to its own scale. */
export function plot(comparisons: readonly Comparison[]): string {
  const panelHeight = gap + columns.length * barHeight + 14;
  const panels = comparisons.flatMap((comparison, column) =>
    plotted.map(([measure, label], row) => {
      const title = `${comparison.shape} · ${label}, tokens/s`;
      const at = `translate(${column * panelWidth} ${row * panelHeight})`;
      return `<g transform="${at}">${panel(comparison, measure, title)}</g>`;
    }),
  );
  const [width, height] = [comparisons.length * panelWidth, plotted.length * panelHeight + 10];
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    ...panels,
    '</svg>',
    '',
  ].join('\n');
}

function panel(comparison: Comparison, measure: Measure, title: string): string {
  const values = [...byColumn(comparison).keys()].map((column) => ({
    column,
    value: medianOf(comparison, column, measure) ?? 0,
  }));
  const longest = Math.max(...values.map(({ value }) => value), Number.MIN_VALUE);
  const bars = values.map(({ column, value }, i) => {
    const y = gap + i * barHeight;
    const width = ((panelWidth - labelWidth - 60) * value) / longest;
    const text = value === 0 ? 'not measured' : rounded(value);
    return [
      `<text x="${labelWidth - 8}" y="${y + 13}" text-anchor="end">${column}</text>`,
      `<rect x="${labelWidth}" y="${y}" width="${width.toFixed(1)}" height="${barHeight - 4}" fill="${colours[column]}"/>`,
      `<text x="${(labelWidth + width + 5).toFixed(1)}" y="${y + 13}">${text}</text>`,
    ].join('');
  });
  return `<text x="8" y="20" font-weight="bold">${title}</text>${bars.join('')}`;
}
