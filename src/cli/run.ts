import { parseArgs } from 'node:util';
import { Daemon } from '../daemon.ts';
import { SlmdError } from '../lib/errors.ts';
import { createLogger } from '../lib/logger.ts';
import { engineEntry } from '../lib/package-root.ts';
import { Board } from '../telemetry/board.ts';
import { configFile, readConfiguration } from './configuration.ts';
import { CommandError, exitCodes } from './exit-codes.ts';

export const usage = `slmd run [--config <file>]

Runs the daemon: answers prompts from MQTT until SIGTERM or SIGINT, then finishes what it has.
A broker that is away is waited for.

  --config <file>  the YAML file (default: $SLMD_CONFIG, else /etc/slmd/slmd.yaml if there)

Exit code: 0 after a graceful stop, 3 for a configuration that is not valid.`;

export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({ args, options: { config: { type: 'string' } } });
  const { config, profile } = readConfiguration(configFile(values.config));
  const daemon = new Daemon({
    config,
    profile,
    board: new Board(),
    log: createLogger(config.log.level, config.log.format),
    engine_entry: engineEntry(),
  });
  await daemon.start().catch((error: unknown) => {
    if (error instanceof SlmdError) throw new CommandError(exitCodes.failed, error.message);
    throw error;
  });
  await signalled();
  await daemon.stop();
}

/** Resolves at the first request to stop; a second one ends the process at once, as it would any other. */
function signalled(): Promise<void> {
  return new Promise((resolve) => {
    const stop = () => {
      for (const signal of ['SIGTERM', 'SIGINT'] as const) process.removeListener(signal, stop);
      resolve();
    };
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, stop);
  });
}
