import type { Sample } from './device.ts';

/** A measure at the beginning and at the end of a run, and what it may be at the end. */
export interface Bounded {
  name: string;
  unit: 'MiB' | '';
  early: number;
  late: number;
  bound: number;
}

/** The measures that are above their bounds at the end, a line each. */
export function outOfBounds(samples: readonly Sample[]): string[] {
  if (samples.length === 0) return ['no sample was taken'];
  return boundedness(samples)
    .filter(({ late, bound }) => late > bound)
    .map(({ name, late, bound }) => `${name} grew to ${late.toFixed(1)}, above ${bound.toFixed(1)}`);
}

export function boundsTable(measures: readonly Bounded[]): string {
  return [`${'most of'.padEnd(16)} first quarter   last quarter   bound`, ...measures.map(boundRow)].join(
    '\n',
  );
}

const mebibyte = 1024 * 1024;
/** What a process may grow by from its first prompts to its last: a heap that finds its size, but no leak. */
const growthBytes = 64 * mebibyte;
/** Sockets of connections that are just ending. */
const growthHandles = 8;
/** A thousand results as a home's, four times over: what a log may hold before it is written anew. */
const journalBytesMax = 8 * mebibyte;

/** The most in the first quarter of the samples beside the most in the last. */
export function boundedness(samples: readonly Sample[]): Bounded[] {
  const quarter = Math.max(1, Math.floor(samples.length / 4));
  const most = (part: readonly Sample[], name: keyof Sample) =>
    part.reduce((max, sample) => Math.max(max, sample[name]), 0);
  const measure = (name: keyof Sample, bound: (early: number) => number): Bounded => {
    const [early, late] = [samples.slice(0, quarter), samples.slice(-quarter)].map((part) =>
      most(part, name),
    );
    const bytes = name.endsWith('_bytes');
    const scale = bytes ? mebibyte : 1;
    return {
      name: name.replace(/_bytes$/, '').replace('_', ' '),
      unit: bytes ? 'MiB' : '',
      early: (early ?? 0) / scale,
      late: (late ?? 0) / scale,
      bound: bound(early ?? 0) / scale,
    };
  };
  return [
    measure('daemon_rss_bytes', (early) => early + growthBytes),
    measure('engine_rss_bytes', (early) => early + growthBytes),
    measure('daemon_handles', (early) => early + growthHandles),
    measure('engine_handles', (early) => early + growthHandles),
    measure('journal_bytes', () => journalBytesMax),
  ];
}

function boundRow({ name, unit, early, late, bound }: Bounded): string {
  const cells = [early, late, bound].map((value) => value.toFixed(unit === '' ? 0 : 1).padStart(12));
  return `${`${name}${unit === '' ? '' : `, ${unit}`}`.padEnd(17)}${cells.join(' ')}`;
}
