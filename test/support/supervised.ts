import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { ErrorCode } from '../../src/contract/errors.ts';
import type { DoneMessage } from '../../src/ipc/messages.ts';
import { question } from '../../src/ipc/question.ts';
import {
  Supervisor,
  type SupervisorEvents,
  type SupervisorOptions,
} from '../../src/supervisor/supervisor.ts';
import { Heard } from './wait.ts';

export interface Event {
  type: 'ready' | 'down' | 'garbage';
  code?: ErrorCode;
  retryMs?: number;
}

export interface Supervised {
  supervisor: Supervisor;
  events: Heard<Event>;
  /** Runs a prompt of the fake engine's; pieces go to `tokens`. */
  ask(content: string, signal?: AbortSignal): Promise<DoneMessage>;
  tokens: Heard<string>;
}

/** A supervisor of the fake engine, not yet started; it is stopped when the test ends. */
export function supervised(
  t: TestContext,
  {
    model_dir = 'any',
    rows = 1,
    ...options
  }: Partial<SupervisorOptions> & { model_dir?: string; rows?: number } = {},
  more: Partial<SupervisorEvents> = {},
): Supervised {
  const events = new Heard<Event>();
  const tokens = new Heard<string>();
  const supervisor = new Supervisor(
    {
      entry: join(import.meta.dirname, 'fake-engine.ts'),
      model: { dir: model_dir, trust: null },
      engine: {
        backend: 'auto',
        threads: 0,
        rows,
        speculation: true,
        prefill_chunk_tokens: 32,
        context_length_max: 512,
        max_tokens_default: null,
        prefixes: null,
      },
      stall_ms: 20_000,
      load_max_ms: 20_000,
      restart: { min_ms: 10, max_ms: 40 },
      ...options,
    },
    {
      ready: () => events.push({ type: 'ready' }),
      down: (code, _message, retryMs) => events.push({ type: 'down', code, retryMs }),
      garbage: () => events.push({ type: 'garbage' }),
      said: () => undefined,
      ...more,
    },
  );
  t.after(() => supervisor.stop());
  const ask = (content: string, signal = new AbortController().signal) =>
    supervisor.generate(question(content, null), (text) => tokens.push(text), signal);
  return { supervisor, events, ask, tokens };
}

export function alive(pid: number | null): boolean {
  if (pid === null) return false;
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
