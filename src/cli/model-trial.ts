import type { Config } from '../config/schema.ts';
import { SlmdError } from '../lib/errors.ts';
import { engineEntry } from '../lib/package-root.ts';
import { supervisorOptions, withEngine } from '../supervisor/one-engine.ts';
import type { Supervisor } from '../supervisor/supervisor.ts';
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
  const model = { dir, trust: config.model.trust };
  const options = supervisorOptions(
    { ...config.engine, rows: 1 },
    { entry, model, max_tokens_default: null, prefixes: null },
  );
  await withEngine(options, (supervisor) => ask(supervisor, prompts));
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
