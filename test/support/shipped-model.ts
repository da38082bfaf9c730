import { type Engine, openEngine } from '../../src/engine/engine.ts';
import type { EngineOptions } from '../../src/ipc/messages.ts';
import { question } from '../../src/ipc/question.ts';
import { shippedModel } from '../../src/lib/package-root.ts';

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
  const onTokens = (piece: string) => pieces.push(piece);
  const { text } = await engine.generate(question(prompt, null), { onTokens });
  return { pieces, text };
}
