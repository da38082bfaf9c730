import { type Generation, type GenerationModel, generate } from '../../src/engine/generate.ts';
import { Rows } from '../../src/engine/rows.ts';
import { type RunTraits, Speculation } from '../../src/engine/speculation.ts';
import { measureRuns } from '../../src/engine/speculation-probe.ts';
import { Grammars } from '../../src/grammar/grammars.ts';
import { vocabularyOf } from '../../src/grammar/vocabulary.ts';
import type { GenerateJob } from '../../src/ipc/messages.ts';
import { question } from '../../src/ipc/question.ts';
import { readModelDirectory } from '../../src/model/directory.ts';
import { encodeConversation } from '../../src/model/prompt.ts';
import { openRuntime } from '../../src/onnx/runtime.ts';
import type { Example } from '../train/data/example.ts';
import { LeaningDecoder } from './leaning-decoder.ts';
import { answerText, type Form } from './schema-questions.ts';
import { median } from './statistics.ts';

/** What the same questions were answered with and without guessed tokens, in turns; times are of the processor. */
export interface DraftedAnswers {
  questions: number;
  tokens: number;
  drafted: number;
  accepted: number;
  again: number;
  withoutMs: number;
  withMs: number;
  /** How many times as fast one answer is with them. */
  medianGain: number;
  differ: number;
}

export interface AskOptions {
  /** What answers are held to; null for none. */
  form: Form | null;
  /** Whether the model is told what to say, having no words of its own. */
  told: boolean;
}

/** A load has one, and no neighbours that make it say anything. */
const probes = 9;

/** One model in one KV cache, whose answers can be had with drafts and without. */
export async function openBoth(dir: string, costs: readonly number[] | null) {
  const directory = await readModelDirectory(dir, null);
  const { tokenizer, template, stopIds, graphPath } = directory;
  const contextLength = Math.min(512, directory.manifest.context_length);
  const opened = await openRuntime('native').openDecoder(graphPath, { threads: 1, contextLength });
  const decoder = new LeaningDecoder(opened.decoder);
  const measured = await measureOften(decoder);
  if (measured === null) throw new Error(`${dir} has the last logits alone`);
  const traits: RunTraits = { ...measured, costs: costs ?? measured.costs };
  const grammars = new Grammars({
    vocabulary: () => vocabularyOf(decoder.vocabularySize, (id) => tokenizer.bytesOf(id), stopIds),
  });
  const rows = new Rows([decoder]);
  const model = { ...directory, rows, grammars, prefillChunkTokens: 128, maxTokensDefault: 128 };
  const compare = async (questions: readonly Example[], { form, told }: AskOptions) => {
    const plain = { ...model, speculation: null };
    // What other questions have taught is not known to these.
    const drafting = { ...model, speculation: new Speculation(traits) };
    const tally = new Tally();
    for (const [i, asked] of questions.entries()) {
      const response_format = form && { type: 'json_schema' as const, schema: form.schema };
      const job = { ...question(asked.prompt, null), response_format };
      const script = told && form !== null ? tokenizer.encodeWithin(answerText(form, asked)) : [];
      decoder.say(script, encodeConversation(job.messages, tokenizer, template).length);
      const ask = (model: GenerationModel) => answer(model, job);
      const first = await ask(i % 2 === 0 ? plain : drafting);
      const second = await ask(i % 2 === 0 ? drafting : plain);
      if (i % 2 === 0) tally.add(first, second);
      else tally.add(second, first);
    }
    return tally.result();
  };
  const close = async () => {
    await grammars.close();
    await decoder.dispose();
  };
  return { costs: measured.costs, compare, close };
}

/** What runs of several tokens take, as most probes say. */
async function measureOften(decoder: LeaningDecoder): Promise<RunTraits | null> {
  const measured: RunTraits[] = [];
  for (let i = 0; i < probes; i++) {
    const traits = await measureRuns(decoder);
    if (traits === null) return null;
    measured.push(traits);
  }
  return {
    costs: measured[0]!.costs.map((_, i) => median(measured.map(({ costs }) => costs[i]!))),
    difference: Math.max(...measured.map(({ difference }) => difference)),
  };
}

interface Answered {
  generation: Generation;
  /** Of the processor, from the first token on, in all threads. */
  decodeMs: number;
}

async function answer(model: GenerationModel, job: GenerateJob): Promise<Answered> {
  let atFirst = process.cpuUsage();
  const onTokens = (_: string, count: number) => {
    if (count === 1) atFirst = process.cpuUsage();
  };
  const generation = await generate(model, job, { onTokens }, new AbortController().signal);
  const { user, system } = process.cpuUsage(atFirst);
  return { generation, decodeMs: (user + system) / 1000 };
}

class Tally {
  readonly #sum = { tokens: 0, drafted: 0, accepted: 0, again: 0, withoutMs: 0, withMs: 0, differ: 0 };
  readonly #gains: number[] = [];

  add(alone: Answered, drafted: Answered): void {
    const { usage, text } = drafted.generation;
    this.#sum.tokens += usage.completion_tokens;
    this.#sum.drafted += usage.speculated_tokens;
    this.#sum.accepted += usage.accepted_tokens;
    this.#sum.again += usage.rerun_tokens;
    this.#sum.withoutMs += alone.decodeMs;
    this.#sum.withMs += drafted.decodeMs;
    this.#gains.push(alone.decodeMs / drafted.decodeMs);
    if (alone.generation.text !== text) this.#sum.differ++;
  }

  result(): DraftedAnswers {
    return { questions: this.#gains.length, ...this.#sum, medianGain: median(this.#gains) };
  }
}
