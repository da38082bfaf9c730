import { isDeepStrictEqual } from 'node:util';
import { messageOf, SlmdError } from '../lib/errors.ts';
import { type ModelDirectory, readModelDirectory } from '../model/directory.ts';
import type { ForeignWish } from '../model/foreign.ts';
import { quantizationName } from '../model/manifest.ts';
import { encodeConversation } from '../model/prompt.ts';
import type { Decoder } from '../onnx/decoder.ts';
import { openRuntime } from '../onnx/runtime.ts';
import { argmax, type Distance, DistanceMeter, type Prediction, PredictionMeter } from './metrics.ts';
import { prompts, prose } from './texts.ts';
import { perplexityRatio, type Verdict, verdictOf } from './verdict.ts';

export interface Comparison {
  verdict: Verdict;
  /** The quantisation of the reference. */
  against: string;
  /** Over the answers that the reference gives. */
  answers: Distance;
  /** Over a text that is given. */
  prose: Prediction;
  /** Of `prose`; null where the text is not in the model's language. */
  perplexity_ratio: number | null;
}

export interface CompareOptions {
  threads: number;
  /** Of several graphs of the tested model, that which keeps its weights so. */
  kind?: ForeignWish['kind'];
  onProgress?(done: number, total: number): void;
}

/** An answer longer than this says nothing new. */
const answerTokensMax = 48;
/** Prompt and answer, and each piece of prose. */
const contextTokens = 512;

interface Pair {
  reference: Decoder;
  tested: Decoder;
}

/**
 * Compares a quantized model with a more exact build of the same checkpoint: both read the same tokens,
 * one at a time as in decoding, and at each position their distributions are compared. The tokens are
 * the reference's own answers to fixed prompts, which is what the model is for, and a fixed text.
 *
 * Both models are loaded at once. Of a reference with several graphs it is the most exact one.
 *
 * @throws {SlmdError} where a model cannot be used, and `models_differ` where they are not of one checkpoint
 */
export async function compareModels(
  testedDir: string,
  referenceDir: string,
  options: CompareOptions,
): Promise<Comparison> {
  const [testedModel, referenceModel] = [
    await readModelDirectory(testedDir, null, { kind: options.kind }),
    await readModelDirectory(referenceDir, null, { exact: true }),
  ];
  requireSame(testedModel, referenceModel);
  const reference = await open(referenceModel, options.threads);
  try {
    const tested = await open(testedModel, options.threads);
    try {
      const compared = await compare(testedModel, { reference, tested }, options);
      return { ...compared, against: quantizationName(referenceModel.manifest.quantization) };
    } finally {
      await tested.dispose();
    }
  } finally {
    await reference.dispose();
  }
}

async function compare(
  model: ModelDirectory,
  pair: Pair,
  { onProgress }: CompareOptions,
): Promise<Omit<Comparison, 'against'>> {
  const [distance, prediction] = [new DistanceMeter(), new PredictionMeter()];
  const total = prompts.length + prose.length;
  let done = 0;
  for (const prompt of prompts) {
    const messages = [{ role: 'user' as const, content: prompt }];
    await compareAnswer(encodeConversation(messages, model.tokenizer, model.template), model, pair, distance);
    onProgress?.(++done, total);
  }
  for (const text of prose) {
    const ids = model.tokenizer.encodeBare(text).slice(0, pair.tested.contextLength);
    await comparePrediction(ids, pair, prediction);
    onProgress?.(++done, total);
  }
  const [answers, predicted] = [distance.result, prediction.result];
  const perplexity_ratio = perplexityRatio(predicted, pair.reference.vocabularySize);
  return { verdict: verdictOf(answers, perplexity_ratio), answers, prose: predicted, perplexity_ratio };
}

/** Both go the way that the reference takes. */
async function compareAnswer(
  prompt: readonly number[],
  { stopIds }: ModelDirectory,
  pair: Pair,
  meter: DistanceMeter,
): Promise<void> {
  reset(pair);
  let ids = prompt;
  for (let i = 0; i < answerTokensMax && pair.tested.length + ids.length <= pair.tested.contextLength; i++) {
    const [reference, tested] = await forward(pair, ids);
    meter.add(reference, tested);
    const next = argmax(reference);
    if (stopIds.has(next)) return;
    ids = [next];
  }
}

async function comparePrediction(ids: readonly number[], pair: Pair, meter: PredictionMeter): Promise<void> {
  reset(pair);
  for (let i = 0; i + 1 < ids.length; i++) {
    const [reference, tested] = await forward(pair, [ids[i]!]);
    meter.add(reference, tested, ids[i + 1]!);
  }
}

function reset({ reference, tested }: Pair): void {
  reference.reset();
  tested.reset();
}

async function forward(
  { reference, tested }: Pair,
  ids: readonly number[],
): Promise<[Float32Array, Float32Array]> {
  return [await reference.forward(ids), await tested.forward(ids)];
}

async function open({ graphPath, manifest, foreign }: ModelDirectory, threads: number): Promise<Decoder> {
  const contextLength = Math.min(contextTokens, manifest.context_length);
  try {
    return (
      await openRuntime('auto').openDecoder(graphPath, {
        threads,
        contextLength,
        ...(foreign && { foreign }),
      })
    ).decoder;
  } catch (error) {
    throw new SlmdError('model_invalid', `${graphPath} cannot be used: ${messageOf(error)}`);
  }
}

/** How many weights a graph of others has does not tell: it may hold a table twice, or constants of its own. */
function requireSame(tested: ModelDirectory, reference: ModelDirectory): void {
  const [a, b] = [tested.manifest, reference.manifest];
  const areOwn = tested.foreign === undefined && reference.foreign === undefined;
  const [text = ''] = prose;
  const same =
    (!areOwn || a.parameters === b.parameters) &&
    isDeepStrictEqual(a.geometry, b.geometry) &&
    isDeepStrictEqual(tested.tokenizer.encodeBare(text), reference.tokenizer.encodeBare(text));
  if (!same) throw new SlmdError('models_differ', `${a.id} and ${b.id} are not builds of one checkpoint`);
}
