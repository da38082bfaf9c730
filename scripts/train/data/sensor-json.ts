// Readings as JSON, or in lines that name a room once for several readings.
import type { Random } from './random.ts';
import type { Quantity, Reading } from './sensor-rules.ts';

type Json = string | number | boolean;

/** The keys of a reading's room, quantity and value, and in which order they are written. */
const lists: Record<string, { keys: readonly [string, string, string]; order: readonly number[] }> = {
  'list room quantity value': { keys: ['room', 'quantity', 'value'], order: [0, 1, 2] },
  'list place sensor value': { keys: ['place', 'sensor', 'value'], order: [0, 1, 2] },
  'list value first': { keys: ['room', 'type', 'value'], order: [2, 1, 0] },
};

/** What joins room and quantity to one key. */
const flat: Record<string, string> = { 'flat underscore': '_', 'flat dot': '.', 'flat slash': '/' };

/** How a room and its readings are one line, and what may stand between two of them. */
const lines: Record<string, { write(where: string, items: string[]): string; joiners: string[] }> = {
  'lines by room': {
    write: (where, items) => `${where} ${items.join(' ')}`,
    joiners: ['; ', ' | ', '\n', ', '],
  },
  'lines by room with colon': {
    write: (where, items) => `${where}: ${items.join(', ')}`,
    joiners: ['; ', ' | ', '\n', '. '],
  },
  'lines by room in brackets': {
    write: (where, items) => `${where} (${items.join(', ')})`,
    joiners: [', ', ' ', '; ', '\n'],
  },
};

export function writeJson(
  readings: readonly Reading[],
  form: string,
  nameOf: (quantity: Quantity) => string,
  random: Random,
): string {
  const identifiers = random.chance(0.5);
  const blank = random.chance(0.4) ? ' ' : '';
  const name = (reading: Reading) => identifier(nameOf(reading.quantity));
  const room = ({ room }: Reading) => {
    const words = room?.words ?? '';
    return identifiers ? identifier(words) : words;
  };
  const objects = (pairsOf: (reading: Reading) => [string, Json][]) =>
    `[${readings.map((reading) => object(pairsOf(reading), blank)).join(',')}]`;

  if (form === 'by room') return nested(readings, room, name, blank);
  if (form === 'by quantity') return nested(readings, name, room, blank);
  if (form === 'list room short')
    return objects((reading) => [
      ['room', room(reading)],
      [name(reading), value(reading)],
    ]);
  if (form in lists) {
    const { keys, order } = lists[form]!;
    return objects((reading) => {
      const values = [room(reading), name(reading), value(reading)];
      return order.map((at) => [keys[at]!, values[at]!]);
    });
  }
  if (form in flat) {
    const key = (reading: Reading) => `${identifier(room(reading))}${flat[form]}${name(reading)}`;
    return object(
      readings.map((reading) => [key(reading), value(reading)]),
      blank,
    );
  }
  if (form in lines) return grouped(readings, nameOf, lines[form]!, random);
  throw new Error(`no such form: ${form}`);
}

function identifier(words: string): string {
  return words.replaceAll(' ', '_');
}

// Text stays as the line shows it, so that 21.0 is not written as 21.
function value(reading: Reading): Json {
  return reading.shown;
}

function scalar(value: Json): string {
  return /^-?\d+(\.\d+)?$|^true$|^false$/.test(`${value}`) ? `${value}` : JSON.stringify(value);
}

function object(pairs: [string, Json][], blank: string): string {
  return `{${pairs.map(([key, value]) => `${JSON.stringify(key)}:${blank}${scalar(value)}`).join(`,${blank}`)}}`;
}

function nested(
  readings: readonly Reading[],
  outer: (reading: Reading) => string,
  inner: (reading: Reading) => string,
  blank: string,
): string {
  const groups = groupBy(readings, outer);
  const parts = [...groups].map(([key, group]) => {
    const pairs = group.map(
      (reading) => `${JSON.stringify(inner(reading))}:${blank}${scalar(value(reading))}`,
    );
    return `${JSON.stringify(key)}:${blank}{${pairs.join(`,${blank}`)}}`;
  });
  return `{${parts.join(`,${blank}`)}}`;
}

function grouped(
  readings: readonly Reading[],
  nameOf: (quantity: Quantity) => string,
  { write, joiners }: (typeof lines)[string],
  random: Random,
): string {
  const groups = groupBy(readings, (reading) => reading.room?.words ?? '');
  const mark = random.pick([' ', ' ', '=', ': ']);
  return [...groups]
    .map(([where, group]) =>
      write(
        where,
        group.map((reading) => `${nameOf(reading.quantity)}${mark}${reading.shown}`),
      ),
    )
    .join(random.pick(joiners));
}

function groupBy(readings: readonly Reading[], keyOf: (reading: Reading) => string): Map<string, Reading[]> {
  const groups = new Map<string, Reading[]>();
  for (const reading of readings)
    groups.set(keyOf(reading), [...(groups.get(keyOf(reading)) ?? []), reading]);
  return groups;
}
