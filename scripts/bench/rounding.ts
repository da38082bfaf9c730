import { leadOf, lostOf } from '../../src/engine/lead.ts';
import { Speculation } from '../../src/engine/speculation.ts';
import { measureRuns } from '../../src/engine/speculation-probe.ts';
import { readModelDirectory } from '../../src/model/directory.ts';
import type { Sequence } from '../../src/onnx/decoder.ts';
import { openRuntime } from '../../src/onnx/runtime.ts';
import { randomIds } from './measures.ts';

/** What runs of several tokens do to the choices that each token alone would make. */
export interface Rounding {
  /** The difference that was measured at load. */
  difference: number;
  tokens: number;
  /** Tokens that would have been run again, being in doubt. */
  doubtful: number;
  /** How often another token comes first. */
  turned: number;
  /** How far ahead such a one was at most, over what is taken for doubtful: from 1 on, it would have been chosen. */
  turnedLead: number;
  /** The most that any that came first lost of its lead, over the same: from 1 on, it was luck. */
  lost: number;
}

export interface RoundingOptions {
  /** Sequences of random tokens, each as long as the context. */
  sequences: number;
  contextLength: number;
  /** As if nothing had been measured at load; for a control. */
  blind?: boolean;
}

/** How much of each sequence is run as a prompt, and how long the runs behind it are, in turns. */
const beginnings = [1, 16, 64, 160] as const;
const runLengths = [[4], [2], [3, 1, 4, 2], [2, 1]] as const;

/**
 * Runs the same tokens through two KV caches of a model, in one of them each alone, in the other several at a time,
 * and never mends what these leave behind, as an answer does at each doubt.
 */
export async function roundingOf(
  modelDir: string,
  { sequences, contextLength, blind = false }: RoundingOptions,
): Promise<Rounding> {
  const directory = await readModelDirectory(modelDir, null);
  const { graphPath, foreign, manifest } = directory;
  const length = Math.min(contextLength, manifest.context_length);
  const options = { threads: 1, contextLength: length, ...(foreign && { foreign }) };
  const open = async () => (await openRuntime('native').openDecoder(graphPath, options)).decoder;
  const [alone, together] = [await open(), await open()];
  try {
    const measured = await measureRuns(together);
    if (measured === null) throw new Error(`${modelDir} has the last logits alone`);
    const speculation = new Speculation(blind ? { ...measured, difference: Number.MIN_VALUE } : measured);
    const rounding = {
      difference: measured.difference,
      ...{ tokens: 0, doubtful: 0, turned: 0, turnedLead: 0, lost: 0 },
    };
    for (let i = 0; i < sequences; i++) {
      const ids = randomIds(i, length, 0, alone.vocabularySize);
      const prompt = Math.min(beginnings[i % beginnings.length]!, length / 2);
      for (const sequence of [alone, together]) {
        sequence.reset();
        await sequence.forward(ids.slice(0, prompt));
      }
      const runs = runLengths[Math.floor(i / beginnings.length) % runLengths.length]!;
      await compare(rounding, speculation, [alone, together], ids.slice(prompt), runs);
    }
    return rounding;
  } finally {
    await Promise.all([alone.dispose(), together.dispose()]);
  }
}

async function compare(
  rounding: Rounding,
  speculation: Speculation,
  [alone, together]: readonly [Sequence, Sequence],
  ids: readonly number[],
  lengths: readonly number[],
): Promise<void> {
  const size = alone.vocabularySize;
  for (let at = 0, run = 0; at < ids.length; run++) {
    const tokens = ids.slice(at, at + lengths[run % lengths.length]!);
    const logits = tokens.length === 1 ? await together.forward(tokens) : await together.forwardEach!(tokens);
    for (const [i, id] of tokens.entries()) {
      const exact = await alone.forward([id]);
      note(rounding, speculation, exact, logits.subarray(i * size, (i + 1) * size));
    }
    at += tokens.length;
  }
}

function note(rounding: Rounding, speculation: Speculation, exact: Float32Array, seen: Float32Array): void {
  const { tolerance } = speculation;
  const first = leadOf(seen);
  const lost = lostOf(first, exact);
  rounding.tokens++;
  rounding.lost = Math.max(rounding.lost, lost / tolerance);
  if (lost > first.lead) {
    rounding.turned++;
    rounding.turnedLead = Math.max(rounding.turnedLead, first.lead / tolerance);
  }
  if (first.lead >= tolerance) return;
  rounding.doubtful++;
  speculation.noteLost(lost);
}
