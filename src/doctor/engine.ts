import type { Config } from '../config/schema.ts';
import type { DoneMessage, EngineInfo, ModelSource } from '../ipc/messages.ts';
import { question } from '../ipc/question.ts';
import { SlmdError } from '../lib/errors.ts';
import { supervisorOptions, withEngine } from '../supervisor/one-engine.ts';
import type { Supervisor } from '../supervisor/supervisor.ts';

/** What a loaded model reaches. */
export interface EngineRun {
  info: EngineInfo;
  /** The median of a few answers; null where they are too short to say. */
  tokens_per_second: number | null;
}

const answers = 3;
const answerTokens = 64;
const prompt = 'turn on the kitchen light and tell me how warm the living room is';

/**
 * Loads the model in an engine process, as the daemon does, and lets it answer: a library that cannot
 * run on this processor ends that process, and is told from one that can.
 *
 * @throws SlmdError with the code and the line of what failed
 */
export function runEngine(config: Config, entry: string, model: ModelSource): Promise<EngineRun> {
  const wanted = { entry, model, max_tokens_default: answerTokens, prefixes: null };
  return withEngine(supervisorOptions({ ...config.engine, rows: 1 }, wanted), measure);
}

async function measure(supervisor: Supervisor): Promise<EngineRun> {
  const rates: number[] = [];
  const job = question(prompt, answerTokens);
  for (let i = 0; i < answers; i++) {
    const done = await supervisor.generate(job, () => undefined, new AbortController().signal);
    const rate = decodeRate(done);
    if (rate !== null) rates.push(rate);
  }
  if (supervisor.info === null) throw new SlmdError('engine_crashed', 'the engine ended after its answer');
  const [median] = rates.sort((a, b) => a - b).slice(Math.floor(rates.length / 2));
  return { info: supervisor.info, tokens_per_second: median ?? null };
}

function decodeRate({ usage, stamps }: DoneMessage): number | null {
  const seconds = (stamps.last_token_at - stamps.first_token_at) / 1000;
  return usage.completion_tokens < 2 || seconds <= 0 ? null : (usage.completion_tokens - 1) / seconds;
}
