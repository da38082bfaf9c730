// Home commands in everyday English, and the JSON action each of them means.
import { climatePatterns } from './climate-patterns.ts';
import { commandPatterns } from './command-patterns.ts';
import type { Example, Purpose } from './example.ts';
import { colors, type Device, type DeviceKind, devices, roomless, rooms, scenes } from './home.ts';
import { housePatterns } from './house-patterns.ts';
import { dress, finish } from './manner.ts';
import { degrees, difference, duration, durationBefore, inWords, percent, type TimeUnit } from './numbers.ts';
import type { Random } from './random.ts';
import type { Split } from './split.ts';
import { nameTarget, type Place, type Spoken, withArticle } from './target.ts';

export const patterns: Record<string, string[]> = {
  ...commandPatterns,
  ...climatePatterns,
  ...housePatterns,
};

type Slot = 'P' | 'D' | 'B' | 'C' | 'L' | 'M' | 'N' | 'S';

/** What a group of patterns does: the action, the devices, and the slot that carries its value. */
interface Intent {
  group: string;
  action: string;
  weight: number;
  kinds?: DeviceKind[];
  slot?: Slot;
  /** Whether the room takes the place of the device, as in "heat the office". */
  roomOnly?: boolean;
  /** Whether "in 10 minutes" may be added. */
  canWait?: boolean;
}

const switched: DeviceKind[] = ['light', 'light', 'light', 'appliance', 'appliance', 'fan', 'heating'];
const opened: DeviceKind[] = ['cover', 'cover', 'cover', 'door', 'valve', 'lock'];

const intents: Intent[] = [
  { group: 'turn_on', action: 'turn_on', weight: 12, kinds: switched, canWait: true },
  { group: 'turn_off', action: 'turn_off', weight: 12, kinds: switched, canWait: true },
  { group: 'toggle', action: 'toggle', weight: 3, kinds: switched },
  { group: 'set_brightness', action: 'set_brightness', weight: 9, kinds: ['light'], slot: 'P' },
  { group: 'brighten', action: 'brighten', weight: 3.5, kinds: ['light'] },
  { group: 'dim', action: 'dim', weight: 3.5, kinds: ['light'] },
  { group: 'set_color', action: 'set_color', weight: 7.5, kinds: ['light'], slot: 'C' },
  { group: 'set_temperature', action: 'set_temperature', weight: 6, kinds: ['heating'], slot: 'D' },
  { group: 'set_room_temperature', action: 'set_temperature', weight: 5, roomOnly: true, slot: 'D' },
  { group: 'raise_temperature', action: 'raise_temperature', weight: 2, kinds: ['heating'] },
  { group: 'raise_temperature_by', action: 'raise_temperature', weight: 2, kinds: ['heating'], slot: 'B' },
  { group: 'raise_room_temperature', action: 'raise_temperature', weight: 2.5, roomOnly: true },
  { group: 'lower_temperature', action: 'lower_temperature', weight: 2.5, kinds: ['heating'] },
  { group: 'lower_temperature_by', action: 'lower_temperature', weight: 2, kinds: ['heating'], slot: 'B' },
  { group: 'lower_room_temperature', action: 'lower_temperature', weight: 2.5, roomOnly: true },
  { group: 'set_speed', action: 'set_speed', weight: 5, kinds: ['fan'], slot: 'L' },
  { group: 'speed_up', action: 'speed_up', weight: 1.5, kinds: ['fan'] },
  { group: 'slow_down', action: 'slow_down', weight: 1.5, kinds: ['fan'] },
  { group: 'open', action: 'open', weight: 7, kinds: opened, canWait: true },
  { group: 'close', action: 'close', weight: 7, kinds: opened, canWait: true },
  { group: 'open_valve', action: 'open', weight: 1, kinds: ['valve'], canWait: true },
  { group: 'close_valve', action: 'close', weight: 1, kinds: ['valve'], canWait: true },
  { group: 'set_position', action: 'set_position', weight: 6, kinds: ['cover'], slot: 'P' },
  { group: 'stop', action: 'stop', weight: 1.5, kinds: ['cover', 'door'] },
  { group: 'lock', action: 'lock', weight: 4.5, kinds: ['lock'], canWait: true },
  { group: 'unlock', action: 'unlock', weight: 4.5, kinds: ['lock'], canWait: true },
  { group: 'water', action: 'water', weight: 2.5, kinds: ['water'] },
  { group: 'water_for', action: 'water', weight: 3.5, kinds: ['water'], slot: 'M' },
  { group: 'stop_watering', action: 'stop_watering', weight: 1.5, kinds: ['water'] },
  { group: 'set_scene', action: 'set_scene', weight: 5, slot: 'S' },
  { group: 'set_timer', action: 'set_timer', weight: 6, slot: 'M' },
  { group: 'cancel_timer', action: 'cancel_timer', weight: 1.5 },
];

/** Writes one command; tries again until it falls on the side of the split that was asked for. */
export function command(random: Random, split: Split, purpose: Purpose): Example {
  for (;;) {
    const intent = random.weighted(intents.map((each) => [each, each.weight] as const));
    const { trained, heldOut } = split.phrasings(intent.group, patterns[intent.group]!);
    const template = random.pick(random.pick(purpose === 'phrasings' ? heldOut : trained));
    const written = fill(template, intent, random);
    const away = written.keys.some((key) => split.isHeldOut(key));
    if (away !== (purpose === 'values')) continue;
    const novelty = purpose === 'phrasings' ? 0.3 : 0;
    const dressed = written.before + dress(written.core, written.imperative, random, split, novelty);
    return {
      prompt: finish(dressed, random),
      expected: JSON.stringify(written.action),
      kind: 'command',
    };
  }
}

interface Filled {
  /** A place that stands before the sentence, and before any politeness: "in the office, could you ...". */
  before: string;
  core: string;
  imperative: boolean;
  action: Record<string, string | number>;
  /** What the split decides about: the pairs and values in this command. */
  keys: string[];
}

function fill(pattern: string, intent: Intent, random: Random): Filled {
  const imperative = !pattern.startsWith('~');
  // The alternatives of a pattern stand between blanks, which "i'd" has none of.
  let core = (imperative ? pattern : pattern.slice(1)).replace("i 'd ", "i'd ");
  const action: Record<string, string | number> = { action: intent.action };
  const keys: string[] = [];
  let place: Place | undefined;
  let before = '';
  if (intent.kinds) {
    const target = pickTarget(intent, random);
    place = target.place;
    action.target = target.name;
    if (place) action.room = place.name;
    core = core.replaceAll('{T}', () => target.text);
    core += target.after;
    before = target.before;
  } else if (intent.roomOnly) {
    const room = random.pick(rooms.filter((each) => !each.outdoors));
    place = { name: room.name, words: random.pick(room.words), preposition: room.preposition };
    action.target = 'thermostat';
    action.room = room.name;
    core = core.replaceAll('{R}', withArticle(place, random));
  }
  if (place && place.name !== 'all') keys.push(`${action.target} ${place.name}`);
  if (intent.slot) core = fillSlot(core, intent, action, keys, random);
  if (intent.canWait && imperative && random.chance(0.08)) core = delay(core, action, keys, random);
  return { before, core, imperative, action, keys };
}

function pickTarget(intent: Intent, random: Random): Spoken {
  const kind = random.pick(intent.kinds!);
  // Half of all lights and fans are just that; the rarer ones share the other half.
  const all = devices[kind];
  const device: Device = random.chance(0.3) ? random.pick(all.slice(0, 2)) : random.pick(all);
  return nameTarget(device, kind, roomless.has(device.name), random);
}

function fillSlot(
  core: string,
  intent: Intent,
  action: Record<string, string | number>,
  keys: string[],
  random: Random,
): string {
  const put = (slot: Slot, text: string) => core.replaceAll(`{${slot}}`, text);
  switch (intent.slot!) {
    case 'P': {
      const value = random.chance(0.45) ? random.integer(0, 20) * 5 : random.integer(0, 100);
      action.value = value;
      keys.push(`${intent.action} ${value}`);
      return put('P', percent(value, random));
    }
    case 'D': {
      const value = random.chance(0.2) ? random.integer(10, 58) / 2 : random.integer(5, 32);
      action.value = value;
      keys.push(`${intent.action} ${value}`);
      return put('D', degrees(value, random));
    }
    case 'B': {
      const value = random.chance(0.2) ? random.integer(1, 10) / 2 : random.integer(1, 9);
      action.value = value;
      keys.push(`${intent.action} ${value}`);
      return put('B', difference(value, random));
    }
    case 'C': {
      const [word, name] = random.pick(colors);
      action.value = name;
      keys.push(`${action.target} ${name}`);
      return put('C', word);
    }
    case 'L': {
      const level = random.chance(0.5) ? random.integer(1, 5) : random.pick(['low', 'medium', 'high']);
      action.value = level;
      const number = typeof level === 'number';
      return put('L', number && random.chance(0.15) ? inWords(level, random) : `${level}`);
    }
    case 'S': {
      const [word, name] = random.pick(scenes);
      action.scene = name;
      return put('S', word);
    }
    case 'M': {
      const [value, unit] = pickTime(random);
      action.value = value;
      action.unit = unit;
      keys.push(`${intent.action} ${value} ${unit}`);
      core = put('M', duration(value, unit, random));
      return put('N', durationBefore(value, unit, random));
    }
    default:
      throw new Error(`no value for slot ${intent.slot}`);
  }
}

function pickTime(random: Random): [number, TimeUnit] {
  const unit = random.weighted<TimeUnit>([
    ['seconds', 2],
    ['minutes', 6],
    ['hours', 1.5],
  ]);
  if (unit === 'hours') return [random.integer(1, 24), unit];
  if (random.chance(0.4)) return [random.integer(1, 12) * 5, unit];
  return [random.integer(1, 120), unit];
}

function delay(
  core: string,
  action: Record<string, string | number>,
  keys: string[],
  random: Random,
): string {
  const [value, unit] = pickTime(random);
  action.delay = value;
  action.unit = unit;
  keys.push(`delay ${value} ${unit}`);
  const time = duration(value, unit, random);
  return random.weighted([
    [`${core} in ${time}`, 6],
    [`${core} after ${time}`, 2],
    [`in ${time} ${core}`, 1],
    [`in ${time}, ${core}`, 1],
    [`${core} ${time} from now`, 0.7],
  ]);
}
