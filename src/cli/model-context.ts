import { resolve } from 'node:path';
import type { Config } from '../config/schema.ts';
import { ModelStore } from '../supply/store.ts';
import { configFile, readConfiguration } from './configuration.ts';
import { CommandError, exitCodes } from './exit-codes.ts';

/** Options of every command that has to do with the store. */
export const storeOptions = { config: { type: 'string' }, store: { type: 'string' } } as const;

export const storeUsage = `  --store <dir>    the model store (default: model.store)
  --config <file>  the YAML file (default: $SLMD_CONFIG, else /etc/slmd/slmd.yaml if there)`;

export interface ModelContext {
  config: Config;
  store: ModelStore;
}

/** The store that the daemon uses, unless another one is named. */
export function modelContext(values: {
  config?: string | undefined;
  store?: string | undefined;
}): ModelContext {
  const { config } = readConfiguration(configFile(values.config));
  return { config, store: new ModelStore(resolve(values.store ?? config.model.store)) };
}

/** The one thing that a command is about. */
export function onlyOne(positionals: readonly string[], what: string, usage: string): string {
  const [one] = positionals;
  if (one === undefined || positionals.length > 1)
    throw new CommandError(exitCodes.usage, `one ${what} is needed\n\n${usage}`);
  return one;
}
