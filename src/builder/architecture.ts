import type { Rope } from './rope.ts';

/**
 * What a decoder is made of, in terms of capabilities. `families.ts` translates each kind of
 * `config.json` into it, and the graph's writers read nothing else; no family has a name beyond `name`.
 */
export interface Architecture {
  /** `architectures[0]` of the checkpoint, for the manifest. */
  name: string;
  hiddenSize: number;
  vocabularySize: number;
  /** Tokens that the model was trained to attend to. */
  contextLengthMax: number;
  /** One for each layer, first to last. */
  layers: readonly LayerReach[];
  /** What `LayerReach.rope` counts. */
  ropes: readonly Rope[];
  norms: Norms;
  attention: Attention;
  mlp: GatedMlp | ExpertMlp;
  factors: Factors;
  /** The head uses the embedding's matrix. */
  tiedHead: boolean;
}

/** How a layer sees what came before. */
export interface LayerReach {
  /** Tokens that it attends to, its own included; null for all. */
  window: number | null;
  /** The place of its rotation in `Architecture.ropes`. */
  rope: number;
}

/** Root mean square norms, by the names that a layer's tensors have. */
export interface Norms {
  epsilon: number;
  /** The checkpoint keeps weights less one. */
  plusOne: boolean;
  beforeAttention: string;
  /** Of what attention gives, before it is added. */
  afterAttention: string | null;
  beforeMlp: string;
  /** Of what the MLP gives, before it is added. */
  afterMlp: string | null;
}

export interface Attention {
  heads: number;
  kvHeads: number;
  headSize: number;
  /** What query times key is multiplied by. */
  scale: number;
  /** Bounds scores to ±softcap by a tanh. */
  softcap: number | null;
  /** Each head's query and key are normed before they are rotated. */
  headNorms: boolean;
  bias: { qkv: boolean; output: boolean };
  /** The checkpoint keeps queries, keys and values in one tensor. */
  joined: boolean;
}

/** down(activation(gate(x)) × up(x)) */
export interface GatedMlp {
  kind: 'gated';
  size: number;
  activation: Activation;
  bias: boolean;
  /** The checkpoint keeps gate and up in one tensor. */
  joined: boolean;
}

/** Several gated MLPs, of which a router chooses a few for each token. */
export interface ExpertMlp {
  kind: 'experts';
  size: number;
  activation: Activation;
  experts: number;
  expertsPerToken: number;
}

export type Activation = 'silu' | 'gelu_tanh';

export interface Factors {
  /** Of the embedding's rows. */
  embedding: number;
  /** Of what attention and MLP add to the sum. */
  residual: number;
  logits: number;
  /** Bounds logits to ±softcap by a tanh. */
  logitsSoftcap: number | null;
}
