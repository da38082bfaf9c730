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
      hiddenSize: 576,
      vocabularySize: 49152,
      contextLengthMax: 2048,
      layers: new Array(30).fill({ window: null, rope: 0 }),
      ropes: [{ theta: 10000, dimensions: 64, scaling: null }],
      norms: {
        epsilon: 1e-5,
        plusOne: false,
        beforeAttention: 'input_layernorm',
        afterAttention: null,
        beforeMlp: 'post_attention_layernorm',
        afterMlp: null,
      },
      attention: {
        heads: 9,
        kvHeads: 3,
        headSize: 64,
        scale: 0.125,
        softcap: null,
        headNorms: false,
        bias: { qkv: false, output: false },
        joined: false,
      },
      mlp: { kind: 'gated', size: 1536, activation: 'silu', bias: false, joined: false },
      factors: { embedding: 1, residual: 1, logits: 1, logitsSoftcap: null },
      tiedHead: true,
    });
  });

  test('without optional fields, or with null for them, means what transformers means by that', () => {
    for (const nothing of [undefined, null]) {
      const read = parse({ num_key_value_heads: nothing, head_dim: nothing, tie_word_embeddings: nothing });
      const { kvHeads, headSize } = read.attention;
      assert.deepEqual([kvHeads, headSize, read.tiedHead], [9, 64, false]);
    }
  });

  test('gives the base of the rotation at the top or in rope_parameters', () => {
    assert.equal(parse({ rope_theta: 5e5 }).ropes[0]!.theta, 5e5);
    const rope_parameters = { rope_type: 'default', rope_theta: 1e5 };
    assert.deepEqual(parse({ rope_parameters }).ropes, [{ theta: 1e5, dimensions: 64, scaling: null }]);
  });

  test('may name the scaling by rope_type or by type', () => {
    for (const name of ['rope_type', 'type']) {
      const { scaling } = parse({ rope_scaling: { [name]: 'linear', factor: 2 } }).ropes[0]!;
      assert.deepEqual(scaling, { type: 'linear', factor: 2 });
    }
  });

  test('with longrope ends the context where the second set of factors would begin', () => {
    const factors = new Array(32).fill(1);
    const rope_scaling = { type: 'longrope', short_factor: factors, long_factor: factors };
    const read = parse({ rope_scaling, original_max_position_embeddings: 512 });
    assert.equal(read.contextLengthMax, 512);
    assert.deepEqual(read.ropes[0]!.scaling, { type: 'factors', factors, amplitude: Math.sqrt(1 + 2 / 9) });
  });

  test('says by a rule or by name which layers see a window only', () => {
    const qwen = { architectures: ['Qwen2ForCausalLM'], num_hidden_layers: 3, sliding_window: 8 };
    const windows = (changes: object) => parse({ ...qwen, ...changes }).layers.map(({ window }) => window);
    assert.deepEqual(windows({ max_window_layers: 1 }), [null, null, null]);
    assert.deepEqual(windows({ use_sliding_window: true, max_window_layers: 1 }), [null, 8, 8]);
    const layer_types = ['sliding_attention', 'full_attention', 'full_attention'];
    assert.deepEqual(windows({ use_sliding_window: true, layer_types }), [8, null, null]);
  });

  for (const [field, changes] of Object.entries({
    'architectures\\[0\\] is "MistralForCausalLM"': { architectures: ['MistralForCausalLM'] },
    'hidden_act is "gelu"': { hidden_act: 'gelu' },
    'rope_scaling.rope_type is "mrope"': { rope_scaling: { rope_type: 'mrope' } },
    'rope_scaling.mscale is 2': { rope_scaling: { rope_type: 'yarn', factor: 4, mscale: 2 } },
    'partial_rotary_factor is 0.3': { partial_rotary_factor: 0.3 },
    'layer_types is "chunked_attention"': {
      architectures: ['Qwen2ForCausalLM'],
      layer_types: new Array(30).fill('chunked_attention'),
    },
    'attn_logit_softcapping is 50': {
      architectures: ['Gemma3ForCausalLM'],
      query_pre_attn_scalar: 64,
      attn_logit_softcapping: 50,
    },
    'use_bidirectional_attention is true': {
      architectures: ['Gemma3ForCausalLM'],
      query_pre_attn_scalar: 64,
      use_bidirectional_attention: true,
    },
    'quantization_config is': { quantization_config: { quant_method: 'gptq' } },
    'head_dim is 12': { head_dim: 12 },
  })) {
    test(`that asks for what is not built is refused: ${field}`, () => {
      assert.throws(() => parse(changes), refused('architecture_unsupported', new RegExp(field)));
    });
  }

  for (const [name, reason] of Object.entries({
    GPT2LMHeadModel: /Qwen3ForCausalLM/,
    T5ForConditionalGeneration: /encoder with a decoder/,
    Gemma3ForConditionalGeneration: /images/,
    ModernBertForMaskedLM: /no head that writes text/,
    toString: /can be built/,
  })) {
    test(`of ${name} is refused by its name and with a reason, whatever fields it has`, () => {
      const text = JSON.stringify({ architectures: [name], n_embd: 768 });
      assert.throws(() => parseArchitecture(text), refused('architecture_unsupported', new RegExp(name)));
      assert.throws(() => parseArchitecture(text), refused('architecture_unsupported', reason));
    });
  }

  for (const [field, changes] of Object.entries({
    hidden_size: { hidden_size: undefined },
    num_hidden_layers: { num_hidden_layers: '30' },
    rms_norm_eps: { rms_norm_eps: 0 },
    architectures: { architectures: [] },
    num_key_value_heads: { num_key_value_heads: 4 },
    layer_types: { architectures: ['Qwen2ForCausalLM'], layer_types: ['full_attention'] },
    query_pre_attn_scalar: { architectures: ['Gemma3ForCausalLM'] },
    num_local_experts: { architectures: ['GraniteMoeForCausalLM'] },
    'rope_scaling.factor': { rope_scaling: { rope_type: 'linear' } },
    'rope_scaling.short_factor': {
      rope_scaling: { rope_type: 'longrope', short_factor: [1], long_factor: [1] },
    },
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
  const plain = rotaryFrequencies({ theta: 500000, dimensions: 64, scaling: null });
  const scaling = {
    type: 'llama3',
    factor: 32,
    lowFrequencyFactor: 1,
    highFrequencyFactor: 4,
    originalContextLength: 8192,
  } as const;
  const scaled = rotaryFrequencies({ theta: 500000, dimensions: 64, scaling });
  assert.equal(scaled[0], plain[0]);
  assert.equal(scaled.at(-1), Math.fround(plain.at(-1)! / 32));
  const ratios = [...plain].map((frequency, i) => frequency / scaled[i]!);
  assert.ok(ratios.every((ratio, i) => i === 0 || ratio >= ratios[i - 1]! - 1e-6));
});
