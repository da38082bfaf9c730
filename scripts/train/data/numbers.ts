// Numbers as people write them: digits mostly, sometimes words, with or without a unit.
import type { Random } from './random.ts';

const small =
  'zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen'.split(
    ' ',
  );
const tens = 'zero ten twenty thirty forty fifty sixty seventy eighty ninety'.split(' ');

/** A whole number from 0 to 100 in words. */
export function inWords(value: number, random: Random): string {
  if (value === 100) return random.pick(['a hundred', 'one hundred', 'hundred']);
  if (value < 20) return small[value]!;
  const ten = tens[Math.floor(value / 10)]!;
  if (value % 10 === 0) return ten;
  return `${ten}${random.chance(0.6) ? ' ' : '-'}${small[value % 10]!}`;
}

export function percent(value: number, random: Random): string {
  const said: Record<number, string[]> = {
    25: ['a quarter'],
    50: ['half', 'halfway', 'fifty percent'],
    100: ['full', 'maximum', 'max', 'a hundred percent'],
  };
  const special = said[value];
  if (special && random.chance(0.3)) return random.pick(special);
  if (value <= 100 && random.chance(0.12))
    return `${inWords(value, random)} ${random.pick(['percent', 'per cent'])}`;
  return `${value}${random.weighted([
    ['%', 5],
    [' percent', 4],
    [' per cent', 1],
    [' %', 1.5],
    ['', 2.5],
  ])}`;
}

export function degrees(value: number, random: Random): string {
  if (Number.isInteger(value) && random.chance(0.12)) {
    return `${inWords(value, random)}${random.weighted([
      [' degrees', 4],
      ['', 1],
      [' degrees celsius', 1],
    ])}`;
  }
  return `${value}${random.weighted([
    [' degrees', 5],
    ['', 3],
    ['°', 2],
    [' °C', 1.5],
    ['°C', 1],
    [' C', 1],
    ['C', 0.7],
    [' degrees celsius', 1],
    [' degrees C', 0.4],
    [' deg', 0.5],
  ])}`;
}

/** How a difference of some degrees is said. */
export function difference(value: number, random: Random): string {
  const unit = value === 1 ? 'degree' : 'degrees';
  if (Number.isInteger(value) && random.chance(0.3)) {
    return `${value === 1 && random.chance(0.5) ? 'a' : inWords(value, random)} ${unit}`;
  }
  return `${value}${random.weighted([
    [` ${unit}`, 5],
    ['', 1],
    ['°', 1],
    [' °C', 1],
  ])}`;
}

export type TimeUnit = 'seconds' | 'minutes' | 'hours';

const unitWords: Record<TimeUnit, [one: string[], many: string[]]> = {
  seconds: [
    ['second', 'sec'],
    ['seconds', 'seconds', 'secs', 'sec'],
  ],
  minutes: [
    ['minute', 'min'],
    ['minutes', 'minutes', 'minutes', 'mins', 'min'],
  ],
  hours: [['hour'], ['hours', 'hours', 'hrs']],
};

export function duration(value: number, unit: TimeUnit, random: Random): string {
  if (value === 30 && unit === 'minutes' && random.chance(0.4))
    return random.pick(['half an hour', 'a half hour']);
  if (value === 15 && unit === 'minutes' && random.chance(0.2)) return 'a quarter of an hour';
  const words = random.pick(unitWords[unit][value === 1 ? 0 : 1]);
  if (value === 1 && random.chance(0.6))
    return `${unit === 'hours' ? 'an' : random.pick(['a', 'one'])} ${words}`;
  if (value <= 100 && random.chance(0.18)) return `${inWords(value, random)} ${words}`;
  return `${value}${unit !== 'hours' && random.chance(0.06) ? words.slice(0, 3) : ` ${words}`}`;
}

/** As `duration`, before a noun: "a 10 minute timer". */
export function durationBefore(value: number, unit: TimeUnit, random: Random): string {
  const word = unit.slice(0, -1);
  if (value <= 100 && random.chance(0.18)) return `${inWords(value, random)} ${word}`;
  return `${value}${random.pick([' ', ' ', '-'])}${random.chance(0.12) && unit === 'minutes' ? 'min' : word}`;
}
