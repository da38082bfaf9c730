import { SlmdError } from '../lib/errors.ts';

export type FlashErrorCode =
  | 'boards_invalid'
  | 'image_unreadable'
  | 'image_truncated'
  | 'no_boot_partition'
  | 'no_cloud_init'
  | 'boot_partition_full'
  | 'package_unreadable'
  | 'target_refused'
  | 'target_unwritable'
  | 'verify_failed'
  | 'tool_missing';

/** Why nothing was flashed: before the target was touched, but for the last three. */
export class FlashError extends SlmdError<FlashErrorCode> {}
