import { join } from 'node:path';
import type { Config } from './config/schema.ts';
import type { EngineInfo } from './ipc/messages.ts';
import type { Logger } from './lib/logger.ts';
import { shippedModel } from './lib/package-root.ts';
import { supervisorOptions } from './supervisor/one-engine.ts';
import { Supervisor } from './supervisor/supervisor.ts';
import { ModelChoice } from './supply/model-choice.ts';

export interface ServedModelParts {
  config: Config;
  /** The engine's entry point: a file that Node can run. */
  engine_entry: string;
  log: Logger;
  /** What a person should know of the model or of its engine; null where there is nothing. */
  condition(name: 'model' | 'engine', why: string | null): void;
  ready(info: EngineInfo): void;
  /** The engine is gone, or goes because another model takes its place. */
  gone(because: 'failure' | 'change'): void;
}

/** The model that a device serves: which one it is, the engine that runs it, and what is wrong with either. */
export class ServedModel {
  readonly supervisor: Supervisor;
  readonly #parts: ServedModelParts;
  readonly #choice: ModelChoice;

  constructor(parts: ServedModelParts) {
    this.#parts = parts;
    this.#choice = new ModelChoice({ ...parts.config.model, shipped: shippedModel() });
    this.supervisor = this.#makeSupervisor();
  }

  start(): void {
    this.#parts.condition('model', this.#choice.finding);
    this.#choice.start(() => this.#onChosen());
    this.supervisor.start();
  }

  /** From here on the model stays the one that it is. */
  settle(): void {
    this.#choice.stop();
  }

  async stop(): Promise<void> {
    this.settle();
    await this.supervisor.stop();
  }

  /** A model was activated: the engine changes between two prompts. */
  #onChosen(): void {
    const { finding, source } = this.#choice;
    this.#parts.log.info({ model_dir: source.dir }, 'another model is active');
    this.#parts.condition('model', finding);
    this.supervisor.use(source);
  }

  #makeSupervisor(): Supervisor {
    const { config, engine_entry: entry, log, condition, ready, gone } = this.#parts;
    const { engine, generation } = config;
    const options = supervisorOptions(engine, {
      entry,
      model: this.#choice.source,
      max_tokens_default: generation.max_tokens,
      prefixes: { dir: join(engine.cache_dir, 'prefixes'), bytes_max: engine.prefix_bytes_max },
    });
    return new Supervisor(options, {
      ready: (info) => {
        const load_ms = Math.round(info.load_ms);
        log.info({ model: info.model.id, ...info.engine, load_ms }, 'engine ready');
        condition('engine', null);
        ready(info);
      },
      down: (code, message, retryMs) => {
        log.error({ code, retry_ms: Math.round(retryMs) }, message);
        condition('engine', message);
        gone('failure');
      },
      changing: () => gone('change'),
      unloadable: (why) => {
        const other = this.#choice.failed(why);
        if (other !== null) log.error({ instead: other.dir }, why);
        condition('model', this.#choice.finding);
        return other;
      },
      garbage: () => log.warn('the engine sent a message that is none'),
      said: (line) => log.warn(line),
    });
  }
}
