import type { Checkpoint } from './checkpoint.ts';
import type { Architecture } from './config.ts';

/**
 * Checks every tensor that the decoder will read, before any work is done.
 *
 * @returns parameters (elements) and their bytes in the checkpoint
 * @throws BuildError `checkpoint_invalid`, naming the tensor
 */
export function checkTensors(
  checkpoint: Checkpoint,
  architecture: Architecture,
): { parameters: number; bytes: number } {
  let parameters = 0;
  let bytes = 0;
  for (const [name, shape] of tensorShapes(architecture)) {
    bytes += checkpoint.expect(name, shape);
    parameters += shape.reduce((product, size) => product * size, 1);
  }
  return { parameters, bytes };
}

/** The tensors of a decoder by the names that checkpoints give them, with their shapes. */
function* tensorShapes(is: Architecture): Generator<[string, number[]]> {
  const hidden = is.hiddenSize;
  yield ['model.embed_tokens.weight', [is.vocabularySize, hidden]];
  for (let layer = 0; layer < is.layers; layer++) {
    const prefix = `model.layers.${layer}`;
    yield [`${prefix}.input_layernorm.weight`, [hidden]];
    yield* linear(`${prefix}.self_attn.q_proj`, is.heads * is.headSize, hidden, is.bias.qkv);
    yield* linear(`${prefix}.self_attn.k_proj`, is.kvHeads * is.headSize, hidden, is.bias.qkv);
    yield* linear(`${prefix}.self_attn.v_proj`, is.kvHeads * is.headSize, hidden, is.bias.qkv);
    yield* linear(`${prefix}.self_attn.o_proj`, hidden, is.heads * is.headSize, is.bias.attentionOutput);
    yield [`${prefix}.post_attention_layernorm.weight`, [hidden]];
    yield* linear(`${prefix}.mlp.gate_proj`, is.intermediateSize, hidden, is.bias.mlp);
    yield* linear(`${prefix}.mlp.up_proj`, is.intermediateSize, hidden, is.bias.mlp);
    yield* linear(`${prefix}.mlp.down_proj`, hidden, is.intermediateSize, is.bias.mlp);
  }
  yield ['model.norm.weight', [hidden]];
  if (!is.tiedHead) yield ['lm_head.weight', [is.vocabularySize, hidden]];
}

function* linear(
  module: string,
  rows: number,
  columns: number,
  bias: boolean,
): Generator<[string, number[]]> {
  yield [`${module}.weight`, [rows, columns]];
  if (bias) yield [`${module}.bias`, [rows]];
}
