/** Birth, will and what this device is (SLMD-STA, SLMD-INF). */

import * as z from 'zod';

const deviceStates = ['starting', 'ready', 'degraded', 'draining', 'offline'] as const;
export type DeviceState = (typeof deviceStates)[number];

/** Retained on the status topic; the will is the same document with `offline`. */
export interface Status {
  state: DeviceState;
  /** A nonce per process: a reader ignores `offline` of a boot older than the one it knows. */
  boot: string;
  /** Counts the connections of this boot from 1; the will of each has its number. */
  birth: number;
  /** One line for a person, null where the state says it all. */
  why: string | null;
}

const statusSchema = z.object({
  state: z.enum(deviceStates),
  boot: z.string().regex(/^[0-9a-f]{12}$/),
  birth: z.int().min(0),
  why: z.string().nullable(),
});

/** Reads a status document; null for bytes that are none. */
export function readStatus(payload: Buffer): Status | null {
  try {
    return statusSchema.safeParse(JSON.parse(payload.toString())).data ?? null;
  } catch {
    return null;
  }
}

/** Retained on the info topic. */
export interface Info {
  device: string;
  version: string;
  boot: string;
  protocol: '5.0' | '3.1.1';
  board: {
    model: string | null;
    arch: string;
    cpu: string | null;
    cpu_features: string[];
    cores: number;
    memory_bytes: number;
    /** The device profile in force, `none` where none fits. */
    profile: string;
    /** How it came to be: the configuration names it, it fits the board's model, or only its architecture. */
    profile_chosen_by: 'setting' | 'model' | 'architecture' | 'none';
    /** What it sets, by path, such as `engine.threads`; without what the configuration sets otherwise. */
    profile_settings: { [path: string]: unknown };
  };
  /** Null until the engine is ready, as `model` is. */
  engine: (ComputeInfo & { load_ms: number }) | null;
  model: ModelInfo | null;
  /** As measured when the model was loaded; null until then. */
  bench: Pace | null;
  limits: {
    payload_bytes_max: number;
    queue_depth_max: number;
    queue_bytes_max: number;
    deadline_default_ms: number | null;
  };
  features: string[];
}

/** What computes. */
export interface ComputeInfo {
  name: string;
  version: string;
  backend: string;
  /** Why it is not the faster backend, where that was wanted. */
  backend_reason: string | null;
  threads: number;
  /** How long a thread without work looks for more before it sleeps. */
  spin_us: number;
  /** Who said so: the configuration, a short measurement at load, or the number of cores. */
  chosen_by: string;
  /** Of quantized matrices: 4 rounds activations to int8, 0 keeps float32; null where there are none. */
  accuracy_level: number | null;
  /** Who said so: the graph, or a short measurement at load, which graphs of others do not get. */
  accuracy_level_chosen_by: string;
  /** Prompts that are answered at a time. */
  rows: number;
  /** Who said so: the configuration, a measurement at load, the backend, the memory, or a rounding that differs. */
  rows_chosen_by: string;
  /** Tokens of all rows together for each token of one alone in the same time; null where nobody measured. */
  rows_gain: number | null;
  /** Whether tokens are guessed at all (SLMD-RES-11). */
  speculation: boolean;
  /** Who said so: the configuration, a measurement at load, the backend, or the graph. */
  speculation_chosen_by: string;
  /** The time of a run with 1, 2, 3 guessed tokens over that of one without; null where nobody measured. */
  draft_costs: readonly number[] | null;
}

/** Of a model alone on its board, with a short context. */
export interface Pace {
  /** Null where measuring it would have taken long. */
  prefill_tokens_per_second: number | null;
  decode_tokens_per_second: number;
}

export interface ModelInfo {
  id: string;
  /** SHA-256 over the manifest, lower-case hex: it names every file of the model by its own hash. */
  sha256: string;
  /** How its files are laid out: slmd's own way, that of transformers.js (`onnx`), or of onnxruntime-genai. */
  layout: 'slmd' | 'onnx' | 'genai';
  quantization: string;
  /** Tokens of prompt plus completion. */
  context_length: number;
  parameters: number;
  /** How near the quantized model is to a more exact build; null where nobody has compared them. */
  verification: Verification | null;
}

/** What `slmd model verify --against` found. */
export interface Verification {
  verdict: 'good' | 'fair' | 'poor';
  /** What it was compared with: `float32`. */
  against: string;
  /** Share of the reference's own tokens that this model would have chosen too. */
  greedy_agreement: number;
  /** Mean of KL(reference ‖ this model), in nats. */
  kl_divergence: number;
  /** Perplexity over that of the reference, on a fixed text; null where it is not in the model's language. */
  perplexity_ratio: number | null;
}
