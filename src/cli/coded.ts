import { SlmdError } from '../lib/errors.ts';
import { CommandError, exitCodes } from './exit-codes.ts';

/** Ends a command with the code and the line of an operating error; anything else is a bug and goes on. */
export function coded(error: unknown): never {
  if (error instanceof SlmdError) {
    const exitCode = error.code === 'timed_out' ? exitCodes.timeout : exitCodes.failed;
    throw new CommandError(exitCode, `${error.code}: ${error.message}`);
  }
  throw error;
}
