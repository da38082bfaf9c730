import type { ErrorCode } from '../contract/errors.ts';
import { SlmdError } from '../lib/errors.ts';

/** The engine ended under a generation. */
export class EngineLost extends SlmdError<ErrorCode> {
  /** Whether others ran with it: then nobody knows whose prompt it was. */
  readonly shared: boolean;

  constructor(code: ErrorCode, message: string, shared: boolean) {
    super(code, message);
    this.shared = shared;
  }
}
