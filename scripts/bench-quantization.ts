/**
 * `npm run bench:quantization`: what each way of quantizing loses, on trained models.
 *
 * Builds the shipped model's checkpoint (or the one that is given) in float32 and in every quantization: with scales
 * by the nearest level, with those that were searched, and calibrated with the builder's own texts. Then it reads
 * texts token by token through the product's own decoder, and prints for each: bytes, the mean loss (negative
 * log-likelihood, nats per token), the mean Kullback–Leibler divergence from float32, and how often the most probable
 * token is the same. The shipped model reads held-out questions with what it answers in float32; of a model that
 * answers them alike, little can be told apart. A checkpoint that is given must hold a JSON with lists of token ids
 * under keys named `ids`.
 *
 *     npm run bench:quantization -- [checkpoint ids.json]
 */

import { readFileSync, rmSync, statSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BuildOptions, buildModel } from '../src/builder/build-model.ts';
import { Calibration } from '../src/builder/calibrate.ts';
import { defaultTexts } from '../src/builder/default-texts.ts';
import { shippedModel } from '../src/lib/package-root.ts';
import { readModelDirectory } from '../src/model/directory.ts';
import { encodeConversation } from '../src/model/prompt.ts';
import type { Decoder } from '../src/onnx/decoder.ts';
import { openRuntime } from '../src/onnx/runtime.ts';
import { argmax } from '../src/oracle/metrics.ts';
import { heldOutSets } from './train/data/sets.ts';

const textsMax = 150;
const contextLength = 512;

const [checkpoint = join(shippedModel(), '..', 'checkpoint'), idsFile] = process.argv.slice(2);
const work = await mkdtemp(join(tmpdir(), 'slmd-quantization-'));
try {
  const float32 = join(work, 'float32');
  await buildModel(checkpoint, float32, { quantization: 'float32' });
  const texts =
    idsFile === undefined ? await questions(float32) : idsOf(JSON.parse(readFileSync(idsFile, 'utf8')));
  const reference = await read(float32, texts);
  console.log(`${checkpoint}: ${texts.length} texts, ${reference.losses.length} tokens`);
  console.log('quantization          scales            MB      loss       KL  same token');
  row('float32', '', float32, reference, reference);
  for (const options of quantizations()) {
    const dir = join(work, 'quantized');
    await buildModel(checkpoint, dir, { ...options, force: true });
    const name = `${options.quantization} b${options.blockSize}`;
    const how = options.calibration === undefined ? options.scales! : 'calibrated';
    row(name, how, dir, await read(dir, texts), reference);
  }
} finally {
  rmSync(work, { recursive: true });
}

function* quantizations(): Generator<BuildOptions> {
  const calibration = new Calibration(defaultTexts);
  for (const quantization of ['int4', 'int8'] as const) {
    for (const blockSize of [32, 64, 128] as const) {
      for (const scales of ['nearest', 'search'] as const) yield { quantization, blockSize, scales };
      yield { quantization, blockSize, calibration };
    }
  }
}

interface Text {
  ids: number[];
  /** The first token whose loss counts: of an answer, not of the question. */
  from: number;
}

/** Held-out questions as the engine would encode them, with what the float32 model answers. */
async function questions(dir: string): Promise<Text[]> {
  const { tokenizer, template, stopIds } = await readModelDirectory(dir);
  const { values, phrasings } = heldOutSets();
  const all = [...values, ...phrasings];
  const step = Math.ceil(all.length / textsMax);
  const decoder = await open(dir);
  const texts: Text[] = [];
  for (const { prompt } of all.filter((_, i) => i % step === 0)) {
    const ids = encodeConversation([{ role: 'user', content: prompt }], tokenizer, template);
    const from = ids.length;
    decoder.reset();
    let logits = await decoder.forward(ids);
    while (ids.length < contextLength && !stopIds.has(ids.at(-1)!)) {
      ids.push(argmax(logits));
      logits = await decoder.forward(ids.slice(-1));
    }
    texts.push({ ids, from });
  }
  await decoder.dispose();
  return texts;
}

/** Every list of numbers under a key `ids`, however deep. */
function idsOf(json: unknown): Text[] {
  if (typeof json !== 'object' || json === null) return [];
  return Object.entries(json).flatMap(([key, value]) =>
    key === 'ids' ? [{ ids: value as number[], from: 1 }] : idsOf(value),
  );
}

interface Reading {
  /** One for each token that counts. */
  losses: number[];
  best: number[];
  logProbabilities: Float32Array[];
}

async function read(dir: string, texts: readonly Text[]): Promise<Reading> {
  const decoder = await open(dir);
  const reading: Reading = { losses: [], best: [], logProbabilities: [] };
  for (const { ids, from } of texts) {
    decoder.reset();
    for (const [i, id] of ids.slice(0, -1).entries()) {
      const logits = logSoftmax(await decoder.forward([id]));
      if (i + 1 < from) continue;
      reading.losses.push(-logits[ids[i + 1]!]!);
      reading.best.push(argmax(logits));
      reading.logProbabilities.push(logits);
    }
  }
  await decoder.dispose();
  return reading;
}

async function open(dir: string): Promise<Decoder> {
  const opened = await openRuntime('auto').openDecoder(join(dir, 'model.onnx'), {
    threads: 1,
    contextLength,
  });
  return opened.decoder;
}

function logSoftmax(logits: Float32Array): Float32Array {
  const highest = logits.reduce((a, b) => Math.max(a, b));
  const sum = logits.reduce((total, logit) => total + Math.exp(logit - highest), 0);
  return logits.map((logit) => logit - highest - Math.log(sum));
}

function row(name: string, scales: string, dir: string, reading: Reading, reference: Reading): void {
  const bytes = statSync(join(dir, 'model.onnx.data')).size;
  const mean = (values: number[]) => values.reduce((a, b) => a + b, 0) / values.length;
  const divergences = reading.logProbabilities.map((own, i) =>
    divergence(reference.logProbabilities[i]!, own),
  );
  const same = mean(reading.best.map((id, i) => (id === reference.best[i] ? 100 : 0)));
  const cells = [(bytes / 1e6).toFixed(2), mean(reading.losses).toFixed(4), mean(divergences).toFixed(5)];
  console.log(
    `${name.padEnd(21)} ${scales.padEnd(10)} ${cells.map((cell) => cell.padStart(9)).join('')} ${same.toFixed(2).padStart(10)} %`,
  );
}

/** Σ p·log(p ÷ q), in nats. */
function divergence(p: Float32Array, q: Float32Array): number {
  return p.reduce((sum, logP, i) => sum + Math.exp(logP) * (logP - q[i]!), 0);
}
