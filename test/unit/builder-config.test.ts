import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseArchitecture } from '../../src/builder/config.ts';
import { rotaryFrequencies } from '../../src/builder/rope.ts';

const usual = {
  architectures: ['LlamaForCausalLM'],
  hidden_act: 'silu',
  hidden_size: 576,
  intermediate_size: 1536,
  num_hidden_layers: 30,
  num_attention_heads: 9,
  num_key_value_heads: 3,
  vocab_size: 49152,
  max_position_embeddings: 2048,
  rms_norm_eps: 1e-5,
  tie_word_embeddings: true,
};

const parse = (changes: Record<string, unknown> = {}) =>
  parseArchitecture(JSON.stringify({ ...usual, ...changes }));

function refused(code: string, message: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.equal((error as { code: string }).code, code);
    assert.match((error as Error).message, message);
    return true;
  };
}

describe('config.json', () => {
  test('of a usual Llama is read as its geometry', () => {
    assert.deepEqual(parse(), {
      name: 'LlamaForCausalLM',
      layers: 30,
      hiddenSize: 576,
      intermediateSize: 1536,
      heads: 9,
      kvHeads: 3,
      headSize: 64,
      vocabularySize: 49152,
      contextLengthMax: 2048,
      normEpsilon: 1e-5,
      rope: { theta: 10000, scaling: null },
      bias: { qkv: false, attentionOutput: false, mlp: false },
      tiedHead: true,
    });
  });

  test('without optional fields, or with null for them, means what transformers means by that', () => {
    for (const nothing of [undefined, null]) {
      const read = parse({ num_key_value_heads: nothing, head_dim: nothing, tie_word_embeddings: nothing });
      assert.deepEqual([read.kvHeads, read.headSize, read.tiedHead], [9, 64, false]);
    }
  });

  test('gives the base of the rotation at the top or in rope_parameters', () => {
    assert.equal(parse({ rope_theta: 5e5 }).rope.theta, 5e5);
    const rope_parameters = { rope_type: 'default', rope_theta: 1e5 };
    assert.deepEqual(parse({ rope_parameters }).rope, { theta: 1e5, scaling: null });
  });

  test('may name the scaling by rope_type or by type', () => {
    const scaling = { type: 'linear', factor: 2 };
    assert.deepEqual(parse({ rope_scaling: { rope_type: 'linear', factor: 2 } }).rope.scaling, scaling);
    assert.deepEqual(parse({ rope_scaling: { type: 'linear', factor: 2 } }).rope.scaling, scaling);
  });

  for (const [field, changes] of Object.entries({
    'architectures\\[0\\] is "MistralForCausalLM"': { architectures: ['MistralForCausalLM'] },
    'hidden_act is "gelu"': { hidden_act: 'gelu' },
    'rope_scaling.rope_type is "yarn"': { rope_scaling: { rope_type: 'yarn', factor: 4 } },
    'rope_parameters.rope_type is "dynamic"': { rope_parameters: { rope_type: 'dynamic' } },
    'partial_rotary_factor is 0.5': { partial_rotary_factor: 0.5 },
    'quantization_config is': { quantization_config: { quant_method: 'gptq' } },
    'head_dim is 12': { head_dim: 12 },
  })) {
    test(`that asks for what is not built is refused: ${field}`, () => {
      assert.throws(() => parse(changes), refused('architecture_unsupported', new RegExp(field)));
    });
  }

  test('of another family is refused by its name, whatever fields it has', () => {
    const text = JSON.stringify({ architectures: ['GPT2LMHeadModel'], n_embd: 768 });
    assert.throws(() => parseArchitecture(text), refused('architecture_unsupported', /GPT2LMHeadModel/));
  });

  for (const [field, changes] of Object.entries({
    hidden_size: { hidden_size: undefined },
    num_hidden_layers: { num_hidden_layers: '30' },
    rms_norm_eps: { rms_norm_eps: 0 },
    architectures: { architectures: [] },
    num_key_value_heads: { num_key_value_heads: 4 },
    'rope_scaling.factor': { rope_scaling: { rope_type: 'linear' } },
    'rope_scaling.low_freq_factor': { rope_scaling: { rope_type: 'llama3', factor: 8 } },
  })) {
    test(`whose ${field} is missing or wrong is invalid, and says so`, () => {
      assert.throws(() => parse(changes), refused('checkpoint_invalid', new RegExp(field)));
    });
  }

  test('that is not JSON is invalid', () => {
    assert.throws(() => parseArchitecture('{'), refused('checkpoint_invalid', /not JSON/));
  });
});

test('llama3 scaling keeps fast waves, and divides slow ones by the factor', () => {
  const plain = rotaryFrequencies({ theta: 500000, scaling: null }, 64);
  const scaling = {
    type: 'llama3',
    factor: 32,
    lowFrequencyFactor: 1,
    highFrequencyFactor: 4,
    originalContextLength: 8192,
  } as const;
  const scaled = rotaryFrequencies({ theta: 500000, scaling }, 64);
  assert.equal(scaled[0], plain[0]);
  assert.equal(scaled.at(-1), Math.fround(plain.at(-1)! / 32));
  const ratios = [...plain].map((frequency, i) => frequency / scaled[i]!);
  assert.ok(ratios.every((ratio, i) => i === 0 || ratio >= ratios[i - 1]! - 1e-6));
});
