import type { Config } from '../config/schema.ts';
import type { ModelSource } from '../ipc/messages.ts';
import { question } from '../ipc/question.ts';
import { SlmdError } from '../lib/errors.ts';
import { engineEntry } from '../lib/package-root.ts';
import { supervisorOptions, withEngine } from '../supervisor/one-engine.ts';
import type { Supervisor } from '../supervisor/supervisor.ts';
import { type SmokePrompt, smokeFinding } from '../supply/smoke.ts';

/**
 * Loads a model in an engine process, as the daemon would, and asks it: hashes, signature and finite
 * logits are the engine's own conditions, the answers are the model's.
 *
 * @throws SlmdError with the code and the line of what failed
 */
export async function tryModel(
  config: Config,
  model: ModelSource,
  prompts: readonly SmokePrompt[],
  entry = engineEntry(),
): Promise<void> {
  const options = supervisorOptions(
    { ...config.engine, rows: 1 },
    { entry, model, max_tokens_default: null, prefixes: null },
  );
  await withEngine(options, (supervisor) => ask(supervisor, prompts));
}

async function ask(supervisor: Supervisor, prompts: readonly SmokePrompt[]): Promise<void> {
  for (const [i, smoke] of prompts.entries()) {
    const job = question(smoke.prompt, smoke.max_tokens);
    const { text } = await supervisor.generate(job, () => undefined, new AbortController().signal);
    const finding = smokeFinding(smoke, text);
    if (finding !== null)
      throw new SlmdError('smoke_failed', `smoke prompt ${i + 1} of ${prompts.length}: ${finding}`);
  }
}
