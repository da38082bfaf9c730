// Readings as JSON, or in lines that name a room once for several readings.
import type { Random } from './random.ts';
import type { Quantity, Reading } from './sensor-rules.ts';

type Json = string | number | boolean;

export function writeJson(
  readings: readonly Reading[],
  form: string,
  nameOf: (quantity: Quantity) => string,
  random: Random,
): string {
  const name = (reading: Reading) => nameOf(reading.quantity).replaceAll(' ', '_');
  const identifiers = random.chance(0.5);
  const blank = random.chance(0.4) ? ' ' : '';
  const room = (reading: Reading) => {
    const words = reading.room?.words ?? '';
    return identifiers ? words.replaceAll(' ', '_') : words;
  };
  const flat = (joiner: string) =>
    object(
      readings.map((reading) => [
        `${room(reading).replaceAll(' ', '_')}${joiner}${name(reading)}`,
        value(reading),
      ]),
      blank,
    );
  const list = (keys: [string, string, string], order: number[]) =>
    array(
      readings.map((reading) => {
        const pairs: [string, Json][] = [
          [keys[0], room(reading)],
          [keys[1], name(reading)],
          [keys[2], value(reading)],
        ];
        return object(
          order.map((at) => pairs[at]!),
          blank,
        );
      }),
    );
  switch (form) {
    case 'by room':
      return nested(readings, room, name, blank);
    case 'by quantity':
      return nested(readings, name, room, blank);
    case 'list room quantity value':
      return list(['room', 'quantity', 'value'], [0, 1, 2]);
    case 'list place sensor value':
      return list(['place', 'sensor', 'value'], [0, 1, 2]);
    case 'list value first':
      return list(['room', 'type', 'value'], [2, 1, 0]);
    case 'list room short':
      return array(
        readings.map((reading) =>
          object(
            [['room', room(reading)] as [string, Json], [name(reading), value(reading)] as [string, Json]],
            blank,
          ),
        ),
      );
    case 'flat underscore':
      return flat('_');
    case 'flat dot':
      return flat('.');
    case 'flat slash':
      return flat('/');
    case 'lines by room':
      return grouped(
        readings,
        nameOf,
        (where, items) => `${where} ${items.join(' ')}`,
        ['; ', ' | ', '\n', ', '],
        random,
      );
    case 'lines by room with colon':
      return grouped(
        readings,
        nameOf,
        (where, items) => `${where}: ${items.join(', ')}`,
        ['; ', ' | ', '\n', '. '],
        random,
      );
    case 'lines by room in brackets':
      return grouped(
        readings,
        nameOf,
        (where, items) => `${where} (${items.join(', ')})`,
        [', ', ' ', '; ', '\n'],
        random,
      );
    default:
      throw new Error(`no such form: ${form}`);
  }
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

function array(objects: string[]): string {
  return `[${objects.join(',')}]`;
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
  write: (where: string, items: string[]) => string,
  joiners: string[],
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
