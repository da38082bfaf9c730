import { SlmdError } from '../lib/errors.ts';

/**
 * Why a model could not be fetched, kept or switched to. What was downloaded so far stays resumable.
 *
 * - `repo_invalid`: the name is neither `owner/name` nor the URL of one.
 * - `repo_not_found`: there is no such repository, revision or file on this mirror.
 * - `access_denied`: it is private or gated, or the token is not accepted.
 * - `rate_limited`: the mirror asks for a longer pause than a command should wait.
 * - `server_failed`: the mirror answers, but not with what was asked for.
 * - `network_failed`: the mirror cannot be reached, or the connection broke again and again.
 * - `timed_out`: the mirror is too slow or silent.
 * - `redirect_refused`: the mirror sends elsewhere too often, or to an address that is less safe.
 * - `listing_invalid`: the list of files is no list, is far too long, or names files outside the model.
 * - `nothing_to_pull`: the repository has no weights in a form that is known.
 * - `hash_mismatch`, `size_mismatch`: what arrived is not what the list of files promised.
 * - `disk_full`: the model does not fit, seen before or while it is written.
 * - `pull_running`: another process downloads this model.
 * - `store_invalid`: the store's own record of what is active cannot be read.
 * - `model_unknown`: the store has no model of this name.
 * - `model_exists`: the store has another one under this name.
 * - `model_in_use`: it is active, or what a rollback would go back to.
 * - `model_not_runnable`: it is no model directory of slmd.
 * - `model_too_large`: without a single token it needs more memory than the board has.
 * - `model_refused`: it was tried and does not load, does not answer, or answers otherwise than it must.
 * - `nothing_to_roll_back`: no other model was active before.
 * - `key_invalid`: the file is no Ed25519 private key.
 */
export type SupplyErrorCode =
  | 'repo_invalid'
  | 'repo_not_found'
  | 'access_denied'
  | 'rate_limited'
  | 'server_failed'
  | 'network_failed'
  | 'timed_out'
  | 'redirect_refused'
  | 'listing_invalid'
  | 'nothing_to_pull'
  | 'hash_mismatch'
  | 'size_mismatch'
  | 'disk_full'
  | 'pull_running'
  | 'store_invalid'
  | 'model_unknown'
  | 'model_exists'
  | 'model_in_use'
  | 'model_not_runnable'
  | 'model_too_large'
  | 'model_refused'
  | 'nothing_to_roll_back'
  | 'key_invalid';

export class SupplyError extends SlmdError<SupplyErrorCode> {}
