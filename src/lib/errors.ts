/**
 * An operating error: something outside the program went wrong, and a person can act on it.
 *
 * `code` is stable and tested; `message` says in one line what happened and what to do. Broken
 * invariants are plain `Error`s and are allowed to crash the process.
 */
export class SlmdError<Code extends string = string> extends Error {
  override readonly name = 'SlmdError';
  readonly code: Code;

  constructor(code: Code, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** The message of anything that was thrown. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
