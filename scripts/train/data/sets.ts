// The three sets. The held-out ones come first, so that training can keep clear of every prompt in them.
import { command } from './commands.ts';
import { type Example, fold, type Purpose } from './example.ts';
import { other } from './other.ts';
import { Random } from './random.ts';
import { sensor } from './sensors.ts';
import { Split } from './split.ts';

/** What `scripts/train/train.sh` trained the shipped model with: it decides what is held out. */
export const shippedSeed = 1;
const heldOutLines = 900;

export interface HeldOut {
  values: Example[];
  phrasings: Example[];
}

/** Both held-out sets, without any training data. */
export function heldOutSets(seed = shippedSeed, lines = heldOutLines): HeldOut {
  const split = new Split(seed);
  return {
    values: heldOutSet(seed, split, 'values', lines),
    phrasings: heldOutSet(seed, split, 'phrasings', lines),
  };
}

function heldOutSet(seed: number, split: Split, purpose: Purpose, lines: number): Example[] {
  const random = new Random(`${seed} ${purpose}`);
  const examples = new Map<string, Example>();
  while (examples.size < lines) {
    const example = write(random, split, purpose);
    if (!examples.has(fold(example.prompt))) examples.set(fold(example.prompt), example);
  }
  return [...examples.values()];
}

/** Training lines, one by one. None of them has a prompt from the held-out sets. */
export function* trainingSet(seed: number, lines: number): Generator<Example> {
  const { values, phrasings } = heldOutSets(seed);
  const forbidden = new Set([...values, ...phrasings].map(({ prompt }) => fold(prompt)));
  const split = new Split(seed);
  const random = new Random(`${seed} training`);
  for (let written = 0; written < lines; ) {
    const example = write(random, split, 'training');
    if (forbidden.has(fold(example.prompt))) continue;
    written += 1;
    yield example;
  }
}

/** Readings are the hardest to learn, so that training has more of them than the held-out sets have. */
function write(random: Random, split: Split, purpose: Purpose): Example {
  const kind = random.weighted(
    purpose === 'training'
      ? [
          [command, 43],
          [sensor, 41],
          [other, 16],
        ]
      : [
          [command, 55],
          [sensor, 28],
          [other, 17],
        ],
  );
  return kind(random, split, purpose);
}
