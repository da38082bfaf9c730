import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { patterns } from '../../scripts/train/data/commands.ts';
import { type Example, fold } from '../../scripts/train/data/example.ts';
import { Random } from '../../scripts/train/data/random.ts';
import { judge, type Reading } from '../../scripts/train/data/sensor-rules.ts';
import { heldOutSets, shippedSeed, trainingSet } from '../../scripts/train/data/sets.ts';
import { expand, Split } from '../../scripts/train/data/split.ts';

const seed = shippedSeed;
const heldOut = heldOutSets(seed);
const training = [...trainingSet(seed, 30_000)];

/** What a command commands, as pairs: the device and room, the action and number, the device and colour. */
function pairsOf({ expected }: Example): string[] {
  const { action, target, room, value, unit } = JSON.parse(expected) as Record<string, string | number>;
  const pairs: string[] = [];
  if (room !== undefined && room !== 'all' && target !== undefined) pairs.push(`${target} ${room}`);
  if (typeof value === 'number' && action !== 'set_speed')
    pairs.push(`${action} ${value} ${unit ?? ''}`.trim());
  if (action === 'set_color') pairs.push(`${target} ${value}`);
  return pairs;
}

const commandsOf = (examples: Example[]) => examples.filter(({ kind }) => kind === 'command');

describe('the training data', () => {
  it('has no prompt of a held-out set, whatever its casing and punctuation', () => {
    const trained = new Set(training.map(({ prompt }) => fold(prompt)));
    for (const { prompt } of [...heldOut.values, ...heldOut.phrasings])
      assert.ok(!trained.has(fold(prompt)), prompt);
  });

  it('shares no template between the trained and the held-out phrasings of an action', () => {
    const split = new Split(seed);
    for (const [action, each] of Object.entries(patterns)) {
      const { trained, heldOut: away } = split.phrasings(action, each);
      const known = new Set(trained.flat());
      assert.ok(known.size > 0 && away.length > 0, action);
      for (const template of away.flat()) assert.ok(!known.has(template), `${action}: ${template}`);
      assert.equal(known.size + new Set(away.flat()).size, new Set(each.flatMap(expand)).size, action);
    }
  });

  it('has no pair that the split holds out, and every held-out command has one that is not in training', () => {
    const split = new Split(seed);
    const trained = new Set(commandsOf(training).flatMap(pairsOf));
    for (const pair of trained) assert.ok(!split.isHeldOut(pair), pair);
    for (const example of commandsOf(heldOut.values)) {
      const pairs = pairsOf(example);
      const { delay, unit } = JSON.parse(example.expected);
      if (delay !== undefined) pairs.push(`delay ${delay} ${unit}`);
      assert.ok(
        pairs.some((pair) => split.isHeldOut(pair) && !trained.has(pair)),
        example.expected,
      );
    }
  });

  it('is the same for the same seed and another for another seed', () => {
    assert.deepEqual(heldOutSets(seed), heldOut);
    assert.deepEqual([...trainingSet(seed, 200)], training.slice(0, 200));
    assert.notDeepEqual(heldOutSets(seed + 1), heldOut);
  });

  it('holds out lines of every kind', () => {
    for (const set of [heldOut.values, heldOut.phrasings]) {
      for (const kind of ['command', 'sensor', 'other']) {
        assert.ok(set.filter((example) => example.kind === kind).length > 80, kind);
      }
    }
  });

  it('answers every command with one line of JSON in a stable order of keys', () => {
    const order = ['action', 'target', 'room', 'value', 'scene', 'delay', 'unit'];
    for (const { expected } of commandsOf(training.slice(0, 3000))) {
      const keys = Object.keys(JSON.parse(expected));
      assert.equal(JSON.stringify(JSON.parse(expected)), expected);
      assert.deepEqual(
        keys,
        order.filter((key) => keys.includes(key)),
      );
    }
  });

  it('fills every slot of every template', () => {
    for (const { prompt } of training.filter(({ kind }) => kind !== 'sensor')) {
      assert.ok(!/[{}~_()|]/.test(prompt.replace(/ \([a-z' ]+\)/i, '')), prompt);
    }
  });
});

describe('the sentence about a line of readings', () => {
  const reading = (quantity: Reading['quantity'], words: string, value: number): Reading => ({
    quantity,
    room: { name: words, words },
    value,
    shown: `${value}`,
  });

  it('is about the most severe of several readings that are out of range', () => {
    const readings = [
      reading('battery', 'attic', 3),
      reading('temperature', 'office', 41),
      reading('humidity', 'shed', 90),
    ];
    assert.equal(judge(readings).sentence, 'Temperature in the office is 41 °C, which is dangerously hot.');
  });

  it('is about the furthest off of several readings that break the same rule', () => {
    assert.match(
      judge([reading('co2', 'office', 1600), reading('co2', 'attic', 2100)]).sentence,
      /attic is 2100 ppm/,
    );
    assert.match(
      judge([reading('temperature', 'shed', -9), reading('temperature', 'attic', 2)]).sentence,
      /shed is -9/,
    );
  });

  it('says that all is normal when nothing is out of range', () => {
    assert.equal(
      judge([reading('temperature', 'office', 21), reading('smoke', 'attic', 0)]).sentence,
      'All readings are normal.',
    );
  });
});

describe('the seeded generator', () => {
  it('spreads over its range and stays within it', () => {
    const random = new Random(7);
    const drawn = Array.from({ length: 5000 }, () => random.integer(3, 12));
    assert.deepEqual(
      [...new Set(drawn)].sort((a, b) => a - b),
      [3, 4, 5, 6, 7, 8, 9, 10, 11, 12],
    );
  });

  it('spells out alternatives, nested ones too', () => {
    assert.deepEqual(expand('(turn|switch) {T} (on (now|)|)').sort(), [
      'switch {T}',
      'switch {T} on',
      'switch {T} on now',
      'turn {T}',
      'turn {T} on',
      'turn {T} on now',
    ]);
  });
});
