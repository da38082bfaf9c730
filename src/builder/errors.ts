import { SlmdError } from '../lib/errors.ts';

/**
 * Why a model was not built. Nothing is left behind in any of these cases.
 *
 * - `checkpoint_missing`: the directory, `config.json` or the weights are not there.
 * - `checkpoint_invalid`: a file is truncated or malformed, or a tensor is missing or of the wrong shape.
 * - `architecture_unsupported`: the checkpoint is well-formed, but needs something that is not built here.
 * - `option_invalid`: the caller asked for something that does not exist or does not fit the model.
 * - `out_exists`: the output directory is already there.
 */
export type BuildErrorCode =
  | 'checkpoint_missing'
  | 'checkpoint_invalid'
  | 'architecture_unsupported'
  | 'option_invalid'
  | 'out_exists';

export class BuildError extends SlmdError<BuildErrorCode> {}

/** `architecture_unsupported`, naming the field of `config.json` and its value. */
export function unsupported(field: string, value: unknown, supported: string): BuildError {
  const shown = JSON.stringify(value) ?? 'nothing';
  return new BuildError('architecture_unsupported', `config.json: ${field} is ${shown}; ${supported}`);
}
