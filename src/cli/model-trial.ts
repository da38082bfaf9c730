import type { Config } from '../config/schema.ts';
import { SlmdError } from '../lib/errors.ts';
import { engineEntry } from '../lib/package-root.ts';
import { Supervisor } from '../supervisor/supervisor.ts';
import { type SmokePrompt, smokeFinding } from '../supply/smoke.ts';

const greedy = { temperature: 0, top_k: 0, top_p: 1, min_p: 0, repetition_penalty: 1, seed: 0 };

/**
 * Loads a model in an engine process, as the daemon would, and asks it: hashes, signature and finite
 * logits are the engine's own conditions, the answers are the model's.
 *
 * @throws SlmdError with the code and the line of what failed
 */
export async function tryModel(
  config: Config,
  dir: string,
  prompts: readonly SmokePrompt[],
  entry = engineEntry(),
): Promise<void> {
  const failed = Promise.withResolvers<never>();
  failed.promise.catch(() => undefined);
  const { threads, backend, prefill_chunk_tokens, context_length_max, stall_ms, load_max_ms } = config.engine;
  const supervisor = new Supervisor(
    {
      entry,
      model: { dir, trust: config.model.trust },
      engine: { threads, backend, prefill_chunk_tokens, context_length_max, max_tokens_default: null },
      stall_ms,
      load_max_ms,
      restart: { min_ms: config.engine.restart_min_ms, max_ms: config.engine.restart_max_ms },
    },
    {
      ready: () => undefined,
      down: (code, message) => failed.reject(new SlmdError(code, message)),
      garbage: () => undefined,
      said: () => undefined,
    },
  );
  supervisor.start();
  try {
    await Promise.race([ask(supervisor, prompts), failed.promise]);
  } finally {
    await supervisor.stop();
  }
}

async function ask(supervisor: Supervisor, prompts: readonly SmokePrompt[]): Promise<void> {
  for (const [i, smoke] of prompts.entries()) {
    const messages = [{ role: 'user' as const, content: smoke.prompt }];
    const job = { messages, max_tokens: smoke.max_tokens, sampling: greedy, stop: [], response_format: null };
    const { text } = await supervisor.generate(job, () => undefined, new AbortController().signal);
    const finding = smokeFinding(smoke, text);
    if (finding !== null)
      throw new SlmdError('smoke_failed', `smoke prompt ${i + 1} of ${prompts.length}: ${finding}`);
  }
}
