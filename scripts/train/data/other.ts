// Everything else, and the one sentence that answers it.
import type { Example, Purpose } from './example.ts';
import { colors, type DeviceKind, devices, rooms } from './home.ts';
import { finish } from './manner.ts';
import { otherPatterns } from './other-patterns.ts';
import { actions, adjectives, names, things, topics } from './other-words.ts';
import type { Random } from './random.ts';
import type { Split } from './split.ts';

const outOfScope = 'Sorry, I can only control this home and read its sensors.';

/** Training asks for unknown devices more often, since there is no end to what they may be called. */
const groupsOf = (purpose: Purpose): [group: string, weight: number][] => [
  ['talk about devices', 30],
  ['talk about rooms', 9],
  ['unknown devices', purpose === 'training' ? 30 : 8],
  ['beyond the home', 16],
  ['weather and time', 7],
  ['knowledge', 10],
  ['writing', 6],
  ['maths', 5],
  ['small talk', 12],
  ['other languages', 1.5],
  ['gibberish', 4],
];

/** Writes one line that is out of scope. Values mean little here: only things and topics are held out. */
export function other(random: Random, split: Split, purpose: Purpose): Example {
  for (;;) {
    const group = random.weighted(groupsOf(purpose));
    const { text, keys } =
      group === 'gibberish' ? gibberish(random) : sentence(group, random, split, purpose);
    const away = keys.some((key) => split.isHeldOut(key));
    if (away !== (purpose === 'values')) continue;
    const polite = random.chance(0.12)
      ? random.pick(['please ', 'hey, ', 'ok, ', 'hi, ', 'so, ', 'computer, '])
      : '';
    return {
      prompt: finish(polite + text, random),
      expected: outOfScope,
      kind: 'other',
    };
  }
}

interface Filled {
  text: string;
  keys: string[];
}

function sentence(group: string, random: Random, split: Split, purpose: Purpose): Filled {
  const { trained, heldOut } = split.phrasings(group, otherPatterns[group]!);
  const template = random.pick(random.pick(purpose === 'phrasings' ? heldOut : trained));
  const keys: string[] = [];
  const from = (items: readonly string[], held: boolean) => {
    const word = random.pick(items);
    if (held) keys.push(`other ${word}`);
    return word;
  };
  const text = template.replace(/\{(\w)\}/g, (_, slot: string) => {
    switch (slot) {
      case 'd':
        return random.pick(random.pick(devices[random.pick(Object.keys(devices) as DeviceKind[])]).words);
      case 'r':
        return random.pick(random.pick(rooms).words);
      case 'n':
        return `${random.chance(0.7) ? random.integer(0, 100) : random.integer(100, 3000)}`;
      case 'c':
        return random.pick(colors)[0];
      case 'o':
        return random.chance(0.5) ? invented(random) : from(things, true);
      case 't':
        return from(topics, true);
      case 'w':
        return from(names, true);
      case 'v':
        return from(actions, false);
      default:
        return from(adjectives, false);
    }
  });
  return { text, keys };
}

const known = new Set([
  ...Object.values(devices).flatMap((kind) => kind.flatMap(({ words, many }) => [...words, ...(many ?? [])])),
  ...rooms.flatMap(({ words }) => words),
]);
const onsets =
  'b|bl|br|c|ch|cl|cr|d|dr|f|fl|fr|g|gl|gr|h|j|k|l|m|n|p|ph|pl|pr|qu|r|s|sc|sh|sk|sl|sn|sp|st|str|t|th|tr|v|w|z|';
const nuclei = 'a|e|i|o|u|a|e|o|ai|ea|ee|ie|oa|oo|ou|y';
const codas = '||b|ck|d|ft|g|k|l|ll|m|mp|n|nd|ng|nk|nt|p|r|rd|rk|rm|rn|s|sk|ss|st|t|tch|x|le|er|or|et|on';

/** A word that sounds like English and means nothing, so that a device is what the home has and nothing else. */
function invented(random: Random): string {
  const part = (parts: string) => random.pick(parts.split('|'));
  for (;;) {
    const syllables = random.weighted([
      [1, 5],
      [2, 4],
      [3, 1],
    ]);
    const word = Array.from({ length: syllables }, () => part(onsets) + part(nuclei) + part(codas)).join('');
    if (word.length > 2 && !known.has(word)) return word;
  }
}

/** Letters or words without sense. No line of this kind has a value to hold out. */
function gibberish(random: Random): Filled {
  const letters = () =>
    Array.from({ length: random.integer(2, 9) }, () => String.fromCharCode(97 + random.integer(0, 25))).join(
      '',
    );
  const scraps = [
    'the',
    'of',
    'lamp',
    'blue',
    'kitchen',
    'seven',
    'and',
    'green',
    'door',
    'to',
    'fish',
    'if',
    'table',
  ];
  const count = random.integer(1, 5);
  const text = random.chance(0.7)
    ? Array.from({ length: count }, letters).join(' ')
    : Array.from({ length: count + 2 }, () => random.pick([...scraps, ...topics])).join(' ');
  return { text, keys: [] };
}
