import { byColumn, type Comparison, type PeerResult } from './compare.ts';
import { type Measure, measures } from './measures.ts';
import { type Column, ownColumns } from './peers/peers.ts';
import { median } from './statistics.ts';
import { rounded, table } from './table.ts';

/** The better of a column's peers, by the median of its rounds; undefined where none was measured. */
export function medianOf(comparison: Comparison, column: Column, measure: Measure): number | undefined {
  const medians = (byColumn(comparison).get(column) ?? [])
    .map(({ samples }) => samples[measure])
    .filter((samples) => samples !== undefined)
    .map(median);
  if (medians.length === 0) return undefined;
  return measures[measure].better === 'higher' ? Math.max(...medians) : Math.min(...medians);
}

/** How many times better slmd is than a peer; below 1 it is worse. */
export function ratioOf(
  comparison: Comparison,
  column: Column,
  measure: Measure,
  ownColumn: Column = 'slmd',
): number | undefined {
  const [own, other] = [medianOf(comparison, ownColumn, measure), medianOf(comparison, column, measure)];
  if (own === undefined || other === undefined) return undefined;
  return measures[measure].better === 'higher' ? own / other : other / own;
}

/** Medians, and beside each peer's how many times better slmd is: with its peers' weights, or with its own. */
export function comparisonTable(comparison: Comparison, own: Column = 'slmd'): string {
  const peers = [...byColumn(comparison).keys()].filter((column) => !isOwn(column));
  const rows = (Object.keys(measures) as Measure[]).map((measure) => {
    const { label, unit } = measures[measure];
    const value = (column: Column) => rounded(medianOf(comparison, column, measure) ?? Number.NaN);
    const cells = peers.flatMap((column) => {
      const ratio = ratioOf(comparison, column, measure, own);
      return [value(column), ratio === undefined ? '' : `${ratio.toFixed(2)}×`];
    });
    return [label, unit, value(own), ...cells];
  });
  const head = peers.flatMap((column) => [column, 'slmd']);
  return table([[comparison.shape, '', own, ...head], ...rows]);
}

function isOwn(column: Column): boolean {
  return ownColumns.some((own) => own === column);
}

/** What was measured, one line for each peer; of one that failed, why. */
export function settingsLines({ peers }: Comparison): string[] {
  const reference = peers.slmd?.firstTokens;
  return Object.entries(peers).map(([name, peer]) => {
    const failed = peer.failure === null ? '' : `; NOT MEASURED to the end: ${peer.failure}`;
    return `${name}: ${peer.version}; ${peer.settings}${sameTokens(peer, reference)}${failed}`;
  });
}

/** That the peers do the same work shows in what they answer. Other roundings make other tokens of close calls. */
function sameTokens({ firstTokens }: PeerResult, reference: readonly number[] | undefined): string {
  if (reference === undefined || reference === firstTokens || firstTokens.length === 0) return '';
  const same = firstTokens.filter((id, i) => id === reference[i]).length;
  return `; first tokens like slmd's: ${same} of ${firstTokens.length}`;
}
