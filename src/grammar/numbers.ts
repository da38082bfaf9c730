import { schemaBounds } from '../contract/schema/bounds.ts';
import type { Bound, Pattern } from '../contract/schema/shape.ts';
import { charactersIn, choice, repeat, sequence, text } from './pattern.ts';

const decimalsMax = schemaBounds.decimals_max;
/** Two more than its bounds have, so that a range of whole numbers has something between them. */
const decimalsMore = 2;
/** Where a range has no bound, its numbers have this one: no bound is allowed to be as large. */
const unbounded = BigInt(schemaBounds.number_max);

/** The integers from `min` to `max`, both included. */
export function integersBetween(min: bigint, max: bigint): Pattern {
  return choice(...fixedBetween(min, max, 0));
}

/**
 * The numbers of a range: written without an exponent, with 0, 1, 2 … decimals.
 *
 * As many decimals as digits make a range of integers, whose digits are compared from the left.
 */
export function numbersBetween(min: Bound | null, max: Bound | null): Pattern {
  const decimals = Math.max(...[min, max].map((bound) => (bound === null ? 0 : decimalsOf(bound.value))));
  const alternatives: Pattern[] = [];
  for (let count = 0; count <= Math.min(decimals + decimalsMore, decimalsMax); count++) {
    const low = min === null ? -unbounded * 10n ** BigInt(count) : scaled(min, count, 'up');
    const high = max === null ? unbounded * 10n ** BigInt(count) : scaled(max, count, 'down');
    alternatives.push(...fixedBetween(low, high, count));
  }
  return choice(...alternatives);
}

function decimalsOf(value: number): number {
  return String(value).split('.')[1]?.length ?? 0;
}

/** A bound in units of 10^−count, moved to the next one that is inside the range. */
function scaled({ value, exclusive }: Bound, count: number, inwards: 'up' | 'down'): bigint {
  const [whole = '0', fraction = ''] = String(Math.abs(value)).split('.');
  const exact = BigInt(whole + fraction.padEnd(decimalsMax, '0')) * (value < 0 ? -1n : 1n);
  const unit = 10n ** BigInt(decimalsMax - count);
  const floor = exact >= 0n ? exact / unit : -((-exact + unit - 1n) / unit);
  const isExact = floor * unit === exact;
  if (inwards === 'up') return isExact ? floor + (exclusive ? 1n : 0n) : floor + 1n;
  return isExact && exclusive ? floor - 1n : floor;
}

/** Alternatives for all numbers from `min` to `max` in units of 10^−decimals, written with that many. */
function fixedBetween(min: bigint, max: bigint, decimals: number): Pattern[] {
  const alternatives: Pattern[] = [];
  if (max >= 0n) alternatives.push(...positive(min > 0n ? min : 0n, max, decimals));
  if (min < 0n) {
    const negative = positive(max < 0n ? -max : 1n, -min, decimals);
    alternatives.push(...negative.map((digits) => sequence(text('-'), digits)));
  }
  return alternatives;
}

function positive(min: bigint, max: bigint, decimals: number): Pattern[] {
  const alternatives: Pattern[] = [];
  for (let length = decimals + 1; min <= max; length++) {
    const last = 10n ** BigInt(length) - 1n;
    const end = max < last ? max : last;
    if (min > end) continue;
    const pad = (value: bigint) => String(value).padStart(length, '0');
    alternatives.push(digitsBetween(pad(min), pad(end), decimals));
    min = end + 1n;
  }
  return alternatives;
}

/** The digit strings from `low` to `high`, equally long; the last `decimals` digits follow a point. */
function digitsBetween(low: string, high: string, decimals: number): Pattern {
  if (low === '') return sequence();
  if (low.length === decimals) return sequence(text('.'), digitsBetween(low, high, 0));
  if (/^0*$/.test(low) && /^9*$/.test(high)) return anyDigits(low.length, decimals);
  const [first, last] = [Number(low[0]), Number(high[0])];
  const rest = (from: string, to: string) => digitsBetween(from, to, decimals);
  const [lowRest, highRest] = [low.slice(1), high.slice(1)];
  if (first === last) return sequence(digits(first, last), rest(lowRest, highRest));
  const [zeros, nines] = ['0'.repeat(lowRest.length), '9'.repeat(lowRest.length)];
  return choice(
    sequence(digits(first, first), rest(lowRest, nines)),
    ...(last - first > 1 ? [sequence(digits(first + 1, last - 1), rest(zeros, nines))] : []),
    sequence(digits(last, last), rest(zeros, highRest)),
  );
}

function anyDigits(length: number, decimals: number): Pattern {
  const one = digits(0, 9);
  const whole = repeat(one, length - decimals, length - decimals);
  return decimals === 0 ? whole : sequence(whole, text('.'), repeat(one, decimals, decimals));
}

function digits(first: number, last: number): Pattern {
  return charactersIn([0x30 + first, 0x30 + last]);
}
