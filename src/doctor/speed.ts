import { megabytes } from '../lib/megabytes.ts';
import { type Finding, note, ok, warning } from './finding.ts';

export interface Speed {
  /** Of reading memory, all cores together. */
  bytes_per_second: number;
  /** Bytes of weights that one token reads. */
  bytes_per_token: number;
  /** As the model reached it; null where it was not run. */
  tokens_per_second: number | null;
  /** What the firmware says holds the board back now. */
  throttled: readonly string[];
}

/** Weights below this lie in caches, and fixed costs of each token decide: bandwidth says nothing there. */
const cachedBytesMax = 64e6;
/** A good kernel reaches 0.45 to 0.75 of what memory allows; below this something is wrong. */
const shareMin = 0.35;

/**
 * What the memory's bandwidth allows against what the model reaches: decoding reads every weight for
 * every token, so on a healthy board the one follows from the other.
 */
export function speedFindings({
  bytes_per_second,
  bytes_per_token,
  tokens_per_second,
  throttled,
}: Speed): Finding[] {
  const allowed = bytes_per_second / bytes_per_token;
  const bandwidth = ok(
    'bandwidth',
    `memory reads ${(bytes_per_second / 1e9).toFixed(1)} GB/s: at most ${rate(allowed)} with ${megabytes(bytes_per_token)} of weights`,
  );
  if (tokens_per_second === null) return [bandwidth];
  const reached = `the model decodes ${rate(tokens_per_second)}`;
  if (bytes_per_token < cachedBytesMax)
    return [bandwidth, ok('speed', `${reached}; its weights are small enough for the caches`)];
  const share = tokens_per_second / allowed;
  const line = `${reached}, ${Math.round(100 * share)} % of what memory allows`;
  if (share >= shareMin) return [bandwidth, ok('speed', line)];
  if (throttled.length > 0)
    return [
      bandwidth,
      warning('speed', `${line}: ${throttled.join(', ')}`, 'see the board’s findings above'),
    ];
  return [
    bandwidth,
    note('speed', line, 'other work on the board, too few engine.threads, or a CPU without dot products'),
  ];
}

function rate(tokensPerSecond: number): string {
  return `${tokensPerSecond < 10 ? tokensPerSecond.toFixed(1) : Math.round(tokensPerSecond)} tokens/s`;
}
