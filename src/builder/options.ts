import { modelIdPattern } from '../model/manifest.ts';
import type { Architecture } from './architecture.ts';
import type { Calibration } from './calibrate.ts';
import type { DecoderOptions } from './decoder.ts';
import { BuildError } from './errors.ts';
import type { ScaleSearch } from './quantize.ts';
import type { WeightFormat } from './weights.ts';

export interface BuildOptions {
  /** The model's name in the manifest; by default the checkpoint directory's, and the quantization. */
  id?: string;
  /** Default int4. */
  quantization?: 'int4' | 'int8' | 'float32';
  /** Weights that share a scale; larger is smaller and faster, smaller is more exact. Default 32. */
  blockSize?: 32 | 64 | 128;
  /** Layers (0 is the first) whose matrices get eight bits in a model that has four. */
  int8Layers?: readonly number[];
  /** How scales are found: `search` (default) for the smallest error, `nearest` for a quick build. */
  scales?: ScaleSearch;
  /** Lets the checkpoint read texts first, to find out which errors of rounding can be made good by others. */
  calibration?: Calibration;
  /** What the KV cache is kept in. For int8, the checkpoint reads the calibration's texts or default ones first. */
  kvCache?: 'float32' | 'int8';
  /** For the scales of an int8 KV cache, where there is no `calibration`; by default of slmd's own texts. */
  cacheCalibration?: Calibration;
  /** Bits of the head (and of an embedding tied to it) where they should differ from the layers'. */
  headBits?: 4 | 8;
  /** Of MatMulNBits: 4 (default) computes with activations rounded to int8, 0 in float32. */
  accuracyLevel?: 0 | 1 | 4;
  /** `all` is for measuring a model: every position's logits instead of the last one's. */
  logits?: 'last' | 'all';
  /** Tokens of prompt plus completion; by default what the model was trained for, up to 8192. */
  contextLength?: number;
  /** Replace an output directory that holds a model. */
  force?: boolean;
  onProgress?: (progress: BuildProgress) => void;
  /** Ends the build with the signal's reason, leaving nothing behind. */
  signal?: AbortSignal;
}

/** Bytes of the checkpoint: those read, and those there are. */
export interface BuildProgress {
  bytesDone: number;
  bytesTotal: number;
}

export interface BuildPlan extends DecoderOptions {
  id: string;
  /** Format of all layers but `int8Layers`. */
  format: WeightFormat;
  /** In order, each once; empty where all layers are alike. */
  int8Layers: readonly number[];
  kvCache: 'float32' | 'int8';
  /** There are texts, and something to be quantized. */
  calibrated: boolean;
}

/**
 * The default bound on the context: a 1 B model's KV cache is then about as large as its weights, and
 * the rotary tables stay at a few MB. Models trained for more get more by asking for it.
 */
const defaultContextLengthMax = 8192;

/** An untied embedding is read a row per token, so its bits cost disk only: it gets the good ones. */
const embeddingBits = 8;

/** Options with defaults filled in. @throws BuildError `option_invalid` */
export function planBuild(
  architecture: Architecture,
  checkpointName: string,
  options: BuildOptions,
): BuildPlan {
  const { quantization = 'int4', blockSize = 32, accuracyLevel = 4, logits = 'last' } = options;
  const { scales = 'search', kvCache = 'float32' } = options;
  check('quantization', quantization, ['int4', 'int8', 'float32']);
  check('block size', blockSize, [32, 64, 128]);
  check('accuracy level', accuracyLevel, [0, 1, 4]);
  check('logits', logits, ['last', 'all']);
  check('scales', scales, ['search', 'nearest']);
  check('KV cache', kvCache, ['float32', 'int8']);
  const bits = quantization === 'int8' ? 8 : 4;
  const { headBits = bits } = options;
  check('width of the head', headBits, [4, 8]);
  const int8Layers = bits === 4 ? layersOf(architecture, options.int8Layers ?? []) : [];
  const id = options.id ?? `${slug(checkpointName)}-${quantization}${kvCache === 'int8' ? '-kv8' : ''}`;
  if (!modelIdPattern.test(id))
    throw new BuildError('option_invalid', `id ${id} does not match ${modelIdPattern}`);
  const format = (width: 4 | 8): WeightFormat =>
    quantization === 'float32' ? 'float32' : { bits: width, blockSize, scales };
  return {
    id,
    format: format(bits),
    int8Layers,
    kvCache,
    cacheScales: null,
    calibrated: options.calibration !== undefined && quantization !== 'float32',
    layerFormats: architecture.layers.map((_, layer) => format(int8Layers.includes(layer) ? 8 : bits)),
    headFormat: format(headBits),
    embeddingFormat: format(embeddingBits),
    accuracyLevel,
    logits,
    contextLength: contextLength(architecture, options.contextLength),
  };
}

function check(name: string, value: unknown, allowed: readonly unknown[]): void {
  if (!allowed.includes(value)) {
    throw new BuildError('option_invalid', `the ${name} is ${value}; it can be ${allowed.join(', ')}`);
  }
}

function layersOf({ layers }: Architecture, wanted: readonly number[]): number[] {
  for (const layer of wanted) {
    if (layers[layer] !== undefined) continue;
    throw new BuildError(
      'option_invalid',
      `there is no layer ${layer} to keep in int8; the model has 0 to ${layers.length - 1}`,
    );
  }
  return [...new Set(wanted)].sort((a, b) => a - b);
}

function contextLength({ contextLengthMax }: Architecture, wanted: number | undefined): number {
  if (wanted === undefined) return Math.min(contextLengthMax, defaultContextLengthMax);
  if (Number.isSafeInteger(wanted) && wanted > 0 && wanted <= contextLengthMax) return wanted;
  throw new BuildError(
    'option_invalid',
    `the context length is ${wanted}; the model allows 1 to ${contextLengthMax}`,
  );
}

/** A directory's name in the characters that a model id may have. */
function slug(name: string): string {
  const kept = name.toLowerCase().replace(/[^a-z0-9._-]+/g, '-');
  return kept.replace(/^[^a-z0-9]+/, '').slice(0, 50) || 'model';
}
