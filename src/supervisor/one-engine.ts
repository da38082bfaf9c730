import type { EngineOptions, ModelSource } from '../ipc/messages.ts';
import { SlmdError } from '../lib/errors.ts';
import { Supervisor, type SupervisorOptions } from './supervisor.ts';

/** The `engine` section of the configuration, as far as it goes for every engine. */
export type EngineSettings = Omit<EngineOptions, 'max_tokens_default' | 'prefixes'> &
  Pick<SupervisorOptions, 'stall_ms' | 'load_max_ms'> & { restart_min_ms: number; restart_max_ms: number };

/** What a supervisor is told: by the settings, and by who wants the engine. */
export function supervisorOptions(
  { stall_ms, load_max_ms, restart_min_ms, restart_max_ms, ...engine }: EngineSettings,
  wanted: { entry: string; model: ModelSource } & Pick<EngineOptions, 'max_tokens_default' | 'prefixes'>,
): SupervisorOptions {
  const { backend, threads, rows, speculation, prefill_chunk_tokens, context_length_max } = engine;
  const { entry, model, max_tokens_default, prefixes } = wanted;
  return {
    entry,
    model,
    engine: {
      backend,
      threads,
      rows,
      speculation,
      prefill_chunk_tokens,
      context_length_max,
      max_tokens_default,
      prefixes,
    },
    stall_ms,
    load_max_ms,
    restart: { min_ms: restart_min_ms, max_ms: restart_max_ms },
  };
}

/**
 * Starts an engine for one purpose, as the daemon would, and stops it when that is fulfilled. One that
 * cannot load, or ends, is not tried again.
 *
 * @throws SlmdError with the code and the line of what failed
 */
export async function withEngine<T>(
  options: SupervisorOptions,
  use: (supervisor: Supervisor) => Promise<T>,
): Promise<T> {
  const failed = Promise.withResolvers<never>();
  failed.promise.catch(() => undefined);
  const supervisor = new Supervisor(options, {
    ready: () => undefined,
    down: (code, message) => failed.reject(new SlmdError(code, message)),
    garbage: () => undefined,
    said: () => undefined,
  });
  supervisor.start();
  try {
    return await Promise.race([use(supervisor), failed.promise]);
  } finally {
    await supervisor.stop();
  }
}
