import { CommandError, exitCodes } from './exit-codes.ts';

/** The number that an option of a command line says; undefined where it is not given. */
export function numberOption(name: string, text: string): number;
export function numberOption(name: string, text: string | undefined): number | undefined;
export function numberOption(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (Number.isFinite(value) && text.trim() !== '') return value;
  throw new CommandError(exitCodes.usage, `--${name} is ${text}; it must be a number`);
}
