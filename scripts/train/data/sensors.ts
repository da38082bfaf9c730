// Lines of sensor readings in many notations, and the one sentence that says what matters in each.
import type { Example, Purpose } from './example.ts';
import { type Room, rooms } from './home.ts';
import { sentenceCase } from './manner.ts';
import type { Random } from './random.ts';
import { endings, introductions, itemForms, joiners, jsonForms, temperatureForms } from './sensor-forms.ts';
import { writeJson } from './sensor-json.ts';
import { breaks, judge, type Quantity, type Reading, rules } from './sensor-rules.ts';
import type { Split } from './split.ts';

interface Gauge {
  names: string[];
  units: string[];
  low: number;
  high: number;
  decimals: number;
  normal: [low: number, high: number];
}

const gauge = (
  names: string,
  units: string,
  range: [low: number, high: number],
  normal: [low: number, high: number],
  decimals = 0,
): Gauge => ({
  names: names.split('|'),
  units: units.split('|'),
  low: range[0],
  high: range[1],
  decimals,
  normal,
});

const gauges: Record<Quantity, Gauge> = {
  temperature: gauge('temperature|temperature|temp|temp|t', '°C| °C| C|C| degrees||', [-20, 75], [15, 28], 1),
  humidity: gauge('humidity|humidity|hum|rh', '%| %| percent|', [3, 100], [35, 60]),
  co2: gauge('co2|CO2|carbon dioxide', ' ppm|ppm|', [380, 4000], [420, 1300]),
  smoke: gauge('smoke', '', [0, 1], [0, 0]),
  leak: gauge('leak|water leak|leak', '', [0, 1], [0, 0]),
  soil: gauge('soil|soil moisture|soil moisture|moisture', '%| %|', [1, 98], [35, 80]),
  tank: gauge('tank|tank level|water tank', '%| %|', [0, 100], [30, 100]),
  battery: gauge('battery|battery|bat|batt', '%| %| percent|', [0, 100], [30, 100]),
  pressure: gauge('pressure|pressure|baro', ' hPa|hPa|', [970, 1045], [990, 1035]),
  light: gauge('light|lux|brightness', ' lux|lx|', [0, 2000], [5, 900]),
};

const quantities = Object.keys(gauges) as Quantity[];
const yesAndNo = [
  ['0', '1'],
  ['no', 'yes'],
  ['off', 'on'],
  ['false', 'true'],
  ['clear', 'detected'],
  ['ok', 'alarm'],
] as const;

/** Writes one line of readings; tries again until it falls on the side of the split that was asked for. */
export function sensor(random: Random, split: Split, purpose: Purpose): Example {
  for (;;) {
    const placed = random.chance(0.92);
    const style = random.weighted([
      ['key', 26],
      ['topic', 10],
      ['list', 26],
      ['prose', 16],
      ['json', 22],
    ]);
    const readings = read(random, placed, style === 'prose');
    const { sentence, worst } = judge(readings);
    if (!worst && purpose === 'values') continue;
    // What is held out stays out of training even where it is in range: else training would teach that
    // just these readings never matter.
    const decided = purpose === 'values' ? keysOf(worst!) : readings.flatMap(keysOf);
    if (decided.some((key) => split.isHeldOut(key)) !== (purpose === 'values')) continue;
    const novel = purpose === 'phrasings';
    const line = placed ? write(readings, style, random, split, novel) : bare(readings, random, split, novel);
    return { prompt: around(line, random, split, novel), expected: sentence, kind: 'sensor' };
  }
}

/** A limit itself is never held out: nothing but training says on which side of it its own value is. */
function keysOf({ quantity, room, value, shown }: Reading): string[] {
  const isLimit = rules.some((rule) => rule.quantity === quantity && rule.limit === value);
  const number = /\d/.test(shown) && shown.length > 1 && !isLimit ? [`${quantity} ${shown}`] : [];
  return room ? [...number, `${quantity} ${room.name}`] : number;
}

function read(random: Random, placed: boolean, many: boolean): Reading[] {
  const count = random.weighted([
    [1, 22],
    [2, 34],
    [3, 28],
    [4, many ? 4 : 12],
    [5, many ? 0 : 5],
  ]);
  // How likely each reading is to be out of range: lines where all is well must be common too.
  const trouble = random.weighted([
    [0, 14],
    [0.4, 52],
    [0.85, 34],
  ]);
  // One line is of one place under one name: a board has its sensors around it.
  const { words, ...place } = random.pick(rooms.filter((room) => !room.outdoors || room.name === 'garden'));
  // A line may write a room as an identifier, where an apostrophe is lost.
  const room = { ...place, words: [random.pick(words.filter((word) => !word.includes("'")))] };
  const fewQuantities = random.chance(0.3) ? [random.pick(quantities), random.pick(quantities)] : quantities;
  const readings: Reading[] = [];
  const taken = new Set<Quantity>();
  for (let tries = 0; readings.length < count && tries < 40; tries += 1) {
    const quantity = random.chance(0.25) ? 'temperature' : random.pick(fewQuantities);
    if (taken.has(quantity)) continue;
    taken.add(quantity);
    readings.push(measure(quantity, placed ? room : undefined, random.chance(trouble), random));
  }
  return readings;
}

function measure(quantity: Quantity, room: Room | undefined, wrong: boolean, random: Random): Reading {
  const gauge = gauges[quantity];
  const mine = rules.filter((rule) => rule.quantity === quantity);
  let value: number;
  if (wrong && mine.length > 0) {
    const rule = random.pick(mine);
    value =
      rule.side === 'above'
        ? between(rule.limit, near(rule.limit, gauge.high, random), gauge, random)
        : between(near(rule.limit, gauge.low, random), rule.limit, gauge, random);
  } else {
    value = between(...(random.chance(0.75) ? gauge.normal : border(quantity)), gauge, random);
    if (mine.some((rule) => breaks(rule, { quantity, room: undefined, value, shown: '' }))) {
      value = between(...gauge.normal, gauge, random);
    }
  }
  return {
    quantity,
    room: room && { name: room.name, words: room.words[0]! },
    value,
    shown: show(value, quantity, random),
  };
}

/** From the limit to the end of the scale, or to a point not far from the limit. */
function near(limit: number, end: number, random: Random): number {
  return random.chance(0.5) ? end : limit + (end - limit) * 0.3;
}

/** The whole span that breaks no rule. */
function border(quantity: Quantity): [number, number] {
  const gauge = gauges[quantity];
  let [low, high] = [gauge.low, gauge.high];
  for (const rule of rules) {
    if (rule.quantity !== quantity) continue;
    if (rule.side === 'above') high = Math.min(high, rule.limit);
    else low = Math.max(low, rule.limit);
  }
  return [low, high];
}

function between(low: number, high: number, gauge: Gauge, random: Random): number {
  const scale = 10 ** (random.chance(0.3) ? 0 : gauge.decimals);
  return random.integer(Math.ceil(low * scale), Math.floor(high * scale)) / scale;
}

function show(value: number, quantity: Quantity, random: Random): string {
  if (quantity === 'smoke' || quantity === 'leak') return random.pick(yesAndNo)[value as 0 | 1];
  if (quantity === 'temperature' && random.chance(0.7)) return value.toFixed(1);
  return `${value}`;
}

function write(readings: Reading[], style: string, random: Random, split: Split, novel: boolean): string {
  if (style === 'json') {
    const { trained, heldOut } = split.literals('sensor json', jsonForms);
    return writeJson(readings, random.pick(novel ? heldOut : trained), nameOnce(random), random);
  }
  return items(readings, style, random, split, novel);
}

function bare(readings: Reading[], random: Random, split: Split, novel: boolean): string {
  return items(readings, 'bare', random, split, novel);
}

function items(readings: Reading[], style: string, random: Random, split: Split, novel: boolean): string {
  const { trained, heldOut } = split.literals(`sensor ${style}`, itemForms[style]!);
  const forms = novel ? heldOut : trained;
  const form = random.pick(forms);
  const mixed = style === 'prose' && random.chance(0.4);
  const implicit = style === 'prose' && random.chance(0.3) ? random.pick(temperatureForms) : undefined;
  const name = nameOnce(random);
  const unit = unitOnce(random);
  const joiner = random.pick(joiners[style]!);
  const written = readings.map((reading) =>
    (implicit && reading.quantity === 'temperature' ? implicit : mixed ? random.pick(forms) : form)
      .replace('{r_}', reading.room?.words.replaceAll(' ', '_') ?? '')
      .replace('{r}', reading.room?.words ?? '')
      .replace('{q_}', name(reading.quantity).replaceAll(' ', '_'))
      .replace('{q}', name(reading.quantity))
      .replace('{v}', reading.shown)
      .replace('{u}', unit(reading.quantity)),
  );
  if (joiner === ', ' && style === 'prose' && written.length > 1 && random.chance(0.7)) {
    return `${written.slice(0, -1).join(', ')} and ${written.at(-1)}`;
  }
  return joiner === '. '
    ? written.map(random.chance(0.5) ? sentenceCase : String).join(joiner)
    : written.join(joiner);
}

/** One name for each quantity, kept through a line. */
function nameOnce(random: Random): (quantity: Quantity) => string {
  const names = new Map<Quantity, string>();
  return (quantity) => {
    if (!names.has(quantity)) names.set(quantity, random.pick(gauges[quantity].names));
    return names.get(quantity)!;
  };
}

/** One unit for each quantity, kept through a line; some lines have no units at all. */
function unitOnce(random: Random): (quantity: Quantity) => string {
  const units = new Map<Quantity, string>();
  const none = random.chance(0.2);
  return (quantity) => {
    if (none) return '';
    if (!units.has(quantity)) units.set(quantity, random.pick(gauges[quantity].units));
    return units.get(quantity)!;
  };
}

function around(line: string, random: Random, split: Split, novel: boolean): string {
  const choose = (group: string, texts: string[], casing: (text: string) => string): string => {
    const { trained, heldOut } = split.literals(group, texts);
    return casing(random.pick(novel && random.chance(0.4) ? heldOut : trained));
  };
  const casing = random.chance(0.5) ? sentenceCase : String;
  const place = random.next();
  if (place < 0.35) return choose('sensor introduction', introductions, casing) + line;
  if (place < 0.47) return line + choose('sensor ending', endings, String);
  const letters = /^[a-z]/.test(line) && random.chance(0.3);
  return (letters ? sentenceCase(line) : line) + (random.chance(0.25) && !line.endsWith('}') ? '.' : '');
}
