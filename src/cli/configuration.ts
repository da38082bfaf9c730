import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { ConfigError, type LoadedConfig, loadConfig } from '../config/config.ts';
import { packageRoot } from '../lib/package-root.ts';
import { Board } from '../telemetry/board.ts';
import { CommandError, exitCodes } from './exit-codes.ts';

const systemFile = '/etc/slmd/slmd.yaml';

/** The file named on the command line, else by `SLMD_CONFIG`, else the system's if there is one. */
export function configFile(named: string | undefined): string | null {
  return named ?? process.env.SLMD_CONFIG ?? (existsSync(systemFile) ? systemFile : null);
}

/** Reads the configuration for a command; problems become one line each and exit code 3. */
export function readConfiguration(file: string | null, env: NodeJS.ProcessEnv = process.env): LoadedConfig {
  try {
    return loadConfig({
      file,
      env,
      board: new Board().identity(),
      profiles_dir: join(packageRoot(), 'devices'),
    });
  } catch (error) {
    if (error instanceof ConfigError)
      throw new CommandError(
        exitCodes.configuration,
        `the configuration has ${error.problems.length === 1 ? 'a problem' : `${error.problems.length} problems`}:\n${error.message}`,
      );
    throw error;
  }
}
