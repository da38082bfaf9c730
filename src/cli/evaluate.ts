import { openEngine } from '../engine/engine.ts';
import type { EngineInfo, VariantKind } from '../ipc/messages.ts';
import { question } from '../ipc/question.ts';

/** A question and the one answer that counts. */
export interface Example {
  prompt: string;
  expected: string;
  kind: string;
}

export interface Tally {
  asked: number;
  exact: number;
}

export interface Evaluation {
  info: EngineInfo;
  all: Tally;
  by_kind: Record<string, Tally>;
  /** Questions whose answer was another, in their order. */
  missed: { example: Example; answer: string }[];
}

export interface EvaluateOptions {
  threads: number;
  /** Of several graphs of others, that which keeps its weights so. */
  kind?: VariantKind;
  /** Answers longer than this are wrong in any case. */
  max_tokens: number;
  onProgress?(done: number, total: number): void;
}

/**
 * Asks a model every question, greedily and each on its own, through the engine that also serves
 * prompts. An answer counts where it equals the expected one, character for character.
 */
export async function evaluate(
  modelDir: string,
  examples: readonly Example[],
  { threads, kind, max_tokens, onProgress }: EvaluateOptions,
): Promise<Evaluation> {
  const options = {
    backend: 'auto',
    threads,
    rows: 1,
    speculation: true,
    prefill_chunk_tokens: 128,
    context_length_max: 4096,
    max_tokens_default: null,
    prefixes: null,
  } as const;
  const engine = await openEngine(modelDir, options, null, kind);
  const evaluation: Evaluation = { info: engine.info, all: tally(), by_kind: {}, missed: [] };
  try {
    for (const [i, example] of examples.entries()) {
      const { text } = await engine.generate(question(example.prompt, max_tokens));
      evaluation.by_kind[example.kind] ??= tally();
      for (const count of [evaluation.all, evaluation.by_kind[example.kind]!]) {
        count.asked++;
        if (text === example.expected) count.exact++;
      }
      if (text !== example.expected) evaluation.missed.push({ example, answer: text });
      onProgress?.(i + 1, examples.length);
    }
  } finally {
    await engine.close();
  }
  return evaluation;
}

/** Exact matches, in percent. */
export function percent({ exact, asked }: Tally): number {
  return asked === 0 ? 0 : (100 * exact) / asked;
}

function tally(): Tally {
  return { asked: 0, exact: 0 };
}
