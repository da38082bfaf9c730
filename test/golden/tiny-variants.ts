/**
 * The tiny checkpoints that have golden logits, by name.
 *
 * As a script, writes them all below the directory it is given: see make_tiny_llama.py.
 */

import { join } from 'node:path';
import { type TinyCheckpointOptions, writeTinyCheckpoint } from '../support/tiny-checkpoint.ts';

export const tinyVariants = {
  tied: {},
  untied: { seed: 2, tied: false },
  every_head_has_its_keys: { seed: 3, kvHeads: 4 },
  small_heads: { seed: 4, heads: 8, kvHeads: 4, headSize: 8 },
  wide_heads: { seed: 5, headSize: 32 },
  biased: { seed: 6, bias: true },
  bf16: { seed: 7, dtype: 'BF16' },
  f16: { seed: 8, dtype: 'F16' },
  sharded: { seed: 9, shards: 3 },
  linear_rope: { seed: 10, config: { rope_scaling: { type: 'linear', factor: 4 } } },
  llama3_rope: {
    seed: 11,
    config: {
      rope_theta: undefined,
      rope_parameters: {
        rope_type: 'llama3',
        rope_theta: 500000,
        factor: 8,
        low_freq_factor: 1,
        high_freq_factor: 4,
        original_max_position_embeddings: 32,
      },
    },
  },
} satisfies Record<string, TinyCheckpointOptions>;

if (import.meta.main) {
  const dir = process.argv[2];
  if (dir === undefined) throw new Error('usage: tiny-variants.ts <directory>');
  for (const [name, options] of Object.entries(tinyVariants)) writeTinyCheckpoint(join(dir, name), options);
}
