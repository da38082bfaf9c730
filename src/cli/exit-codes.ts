/** Exit codes that scripts can use, the same for every command. */
export const exitCodes = {
  ok: 0,
  /** Something failed; the line on stderr says what. */
  failed: 1,
  /** The command line is wrong. */
  usage: 2,
  /** The configuration is wrong. */
  configuration: 3,
  /** The broker cannot be used. */
  broker: 4,
  /** No answer came in time. */
  timeout: 5,
  /** The device answered, with an error. */
  refused: 6,
  /** By Ctrl-C: 128 and the signal's number, as shells have it. */
  interrupted: 130,
} as const;

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/** Ends a command with a line on stderr and this exit code. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
  readonly exitCode: ExitCode;

  constructor(exitCode: ExitCode, message: string) {
    super(message);
    this.exitCode = exitCode;
  }
}
