import * as z from 'zod';
import { type GraphNames, usualNames } from '../onnx/graph-interface.ts';
import { eosTokenIds } from './eos-tokens.ts';

/** What `genai_config.json` says of a model, as far as slmd runs it. */
export interface GenaiModel {
  /** The graph, beside the configuration. */
  filename: string;
  names: GraphNames;
  type: string;
  context_length: number;
  vocabulary_size: number | undefined;
  heads: number | undefined;
  hidden_size: number | undefined;
  eos_token_ids: number[];
}

const count = z.number().int().positive();
const names = z.record(z.string(), z.unknown()).default({});

const schema = z.object({
  model: z.looseObject({
    type: z.string(),
    context_length: count,
    vocab_size: count.optional(),
    decoder: z.looseObject({
      filename: z.string(),
      inputs: names,
      outputs: names,
      num_attention_heads: count.optional(),
      hidden_size: count.optional(),
      sliding_window: z
        .looseObject({
          slide_key_value_cache: z.boolean().default(true),
          slide_inputs: z.boolean().default(true),
        })
        .nullish(),
    }),
  }),
});

type Model = z.infer<typeof schema>['model'];

/**
 * @returns the model, or in one phrase why it is none that slmd runs
 * @throws Error naming the field that is not as onnxruntime-genai writes it
 */
export function readGenaiConfig(config: unknown): GenaiModel | string {
  const parsed = schema.safeParse(config);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new Error(`${issue?.path.join('.')}: ${issue?.message}`);
  }
  const { model } = parsed.data;
  const { decoder } = model;
  const eos = eosTokenIds(model);
  if (eos === null) throw new Error('model.eos_token_id: neither a token id nor a list of them');
  const reason = reasonAgainst(model);
  if (reason !== null) return reason;
  return {
    filename: decoder.filename,
    names: namesOf(model),
    type: model.type,
    context_length: model.context_length,
    vocabulary_size: model.vocab_size,
    heads: decoder.num_attention_heads,
    hidden_size: decoder.hidden_size,
    eos_token_ids: eos,
  };
}

/** Parts of a model that are more than a decoder of text. */
const otherParts = {
  vision: 'it takes images',
  speech: 'it takes sound',
  encoder: 'it is an encoder and a decoder',
  encoder_decoder_init: 'it is an encoder and a decoder',
  embedding: 'it takes embeddings in place of token ids',
} as const;

function reasonAgainst(model: Model): string | null {
  for (const [part, reason] of Object.entries(otherParts))
    if (part in model) return `${reason} (model.${part})`;
  const { decoder } = model;
  if ('pipeline' in decoder) return 'it is a pipeline of several graphs (model.decoder.pipeline)';
  const { sliding_window } = decoder;
  if (sliding_window?.slide_key_value_cache || sliding_window?.slide_inputs)
    return 'its cache forgets its first tokens (model.decoder.sliding_window)';
  return null;
}

function namesOf({ decoder: { inputs, outputs } }: Model): GraphNames {
  const given = (from: Record<string, unknown>, key: string): string | undefined =>
    typeof from[key] === 'string' ? from[key] : undefined;
  const cache = ['key_names', 'value_names', 'names'].flatMap((part): [string, string][] => {
    const [past, present] = [given(inputs, `past_${part}`), given(outputs, `present_${part}`)];
    return past === undefined || present === undefined ? [] : [[past, present]];
  });
  return {
    inputIds: given(inputs, 'input_ids') ?? usualNames.inputIds,
    attentionMask: given(inputs, 'attention_mask') ?? usualNames.attentionMask,
    positionIds: given(inputs, 'position_ids') ?? usualNames.positionIds,
    logits: given(outputs, 'logits') ?? usualNames.logits,
    cache: [...cache, ...usualNames.cache],
  };
}
