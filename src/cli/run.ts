import { parseArgs } from 'node:util';
import { Daemon } from '../daemon.ts';
import { messageOf, SlmdError } from '../lib/errors.ts';
import { createLogger, type Logger } from '../lib/logger.ts';
import { giveBackStart } from '../lib/own-memory.ts';
import { engineEntry } from '../lib/package-root.ts';
import { type ServiceManager, serviceManager } from '../lib/service-manager.ts';
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
  const log = createLogger(config.log.level, config.log.format);
  const manager = managerOf(log);
  const daemon = new Daemon({
    config,
    profile,
    board: new Board(),
    log,
    engine_entry: engineEntry(),
    manager,
    // It calls the C library, which only a service has loaded; for it alone that would take more than it gives.
    ...(manager !== null && { started: () => giveBackStart((line) => log.warn(line)) }),
  });
  await daemon.start().catch((error: unknown) => {
    if (error instanceof SlmdError) throw new CommandError(exitCodes.failed, error.message);
    throw error;
  });
  await signalled();
  await daemon.stop();
}

/** Without it the device works all the same; it only cannot say so. */
function managerOf(log: Logger): ServiceManager | null {
  try {
    return serviceManager(process.env);
  } catch (error) {
    log.warn(`systemd cannot be told how the device is: ${messageOf(error)}`);
    return null;
  }
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
