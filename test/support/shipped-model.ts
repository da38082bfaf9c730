import { type Engine, openEngine } from '../../src/engine/engine.ts';
import type { EngineOptions } from '../../src/ipc/messages.ts';
import { shippedModel } from '../../src/lib/package-root.ts';

/** Greedy: the same tokens every time. */
const sampling = { temperature: 0, top_k: 0, top_p: 1, min_p: 0, repetition_penalty: 1, seed: 0 };

/** The model that ships, in this process. */
export function openShippedModel(backend: EngineOptions['backend'] = 'auto'): Promise<Engine> {
  return openEngine(shippedModel(), {
    backend,
    threads: 1,
    rows: 1,
    speculation: true,
    prefill_chunk_tokens: 128,
    context_length_max: 512,
    max_tokens_default: 128,
    prefixes: null,
  });
}

/** The answer as the text that each token added; the token that ends it adds none. */
export async function answerInPieces(
  engine: Engine,
  prompt: string,
): Promise<{ pieces: string[]; text: string }> {
  const pieces: string[] = [];
  const { text } = await engine.generate(
    {
      messages: [{ role: 'user', content: prompt }],
      max_tokens: null,
      sampling,
      stop: [],
      response_format: null,
    },
    { onTokens: (piece) => pieces.push(piece) },
  );
  return { pieces, text };
}
