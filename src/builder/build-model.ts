import { writeFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { formatManifest, type Manifest, manifestFile } from '../model/manifest.ts';
import { ExternalDataWriter } from '../onnx/external-data.ts';
import { GraphBuilder } from '../onnx/graph.ts';
import type { Architecture } from './architecture.ts';
import { Calibration, type Found, type Reader } from './calibrate.ts';
import { Checkpoint } from './checkpoint.ts';
import { readArchitecture } from './config.ts';
import { buildDecoder } from './decoder.ts';
import { defaultTexts } from './default-texts.ts';
import { type BuildOptions, type BuildPlan, planBuild } from './options.ts';
import { intoDirectory } from './out-directory.ts';
import { checkTokenizer, copySideFiles, identify, readEosTokenIds } from './side-files.ts';
import { checkTensors } from './survey.ts';
import { StreamedWeights } from './weights.ts';

export type { BuildErrorCode } from './errors.ts';
export type { BuildOptions, BuildProgress } from './options.ts';

type Files = Manifest['files'];

/**
 * Turns a checkpoint (config.json, safetensors weights, tokenizer) into a model directory.
 *
 * The directory appears complete or not at all. The same checkpoint and options give the same bytes.
 * Memory stays at a few slabs of weights and one matrix's scales, however large the checkpoint is.
 *
 * @returns the manifest that was written
 * @throws BuildError with a code of `BuildErrorCode`; file system errors as they come
 */
export async function buildModel(
  checkpointDir: string,
  outDir: string,
  options: BuildOptions = {},
): Promise<Manifest> {
  const architecture = await readArchitecture(checkpointDir);
  const plan = planBuild(architecture, basename(resolve(checkpointDir)), options);
  await checkTokenizer(checkpointDir);
  const eos_token_ids = await readEosTokenIds(checkpointDir);
  const progress = { bytesDone: 0, bytesTotal: 0 };
  const checkpoint = await Checkpoint.open(checkpointDir, (bytes) => {
    options.signal?.throwIfAborted();
    progress.bytesDone += bytes;
    options.onProgress?.({ ...progress });
  });
  try {
    const { parameters, bytes } = await checkTensors(checkpoint, architecture, plan);
    progress.bytesTotal = bytes;
    return await intoDirectory(outDir, options.force ?? false, async (dir) => {
      const source = { checkpointDir, architecture, workDir: join(dir, 'calibration') };
      const files: Files = await writeGraph(
        dir,
        checkpoint,
        architecture,
        plan,
        await calibrate(source, plan, options),
      );
      Object.assign(files, await copySideFiles(checkpointDir, dir));
      const manifest = describe(architecture, plan, { parameters, eos_token_ids, files });
      await writeFile(join(dir, manifestFile), formatManifest(manifest), { flush: true });
      return manifest;
    });
  } finally {
    await checkpoint.close();
  }
}

/** What the checkpoint makes of texts, as far as the plan needs it. */
async function calibrate(
  reader: Omit<Reader, 'options'>,
  plan: BuildPlan,
  { calibration, cacheCalibration, signal }: BuildOptions,
): Promise<Found> {
  const sought = { moments: plan.calibrated, cacheScales: plan.kvCache === 'int8' };
  if (!sought.moments && !sought.cacheScales) return { moments: new Map(), cacheScales: [] };
  const texts = calibration ?? cacheCalibration ?? new Calibration(defaultTexts);
  return texts.find({ ...reader, options: plan }, sought, signal);
}

async function writeGraph(
  dir: string,
  checkpoint: Checkpoint,
  architecture: Architecture,
  plan: BuildPlan,
  { moments, cacheScales }: Found,
): Promise<Files> {
  const graph = new GraphBuilder('decoder');
  const data = await ExternalDataWriter.create(join(dir, 'model.onnx.data'));
  try {
    await buildDecoder(graph, new StreamedWeights(checkpoint, data, moments), architecture, {
      ...plan,
      cacheScales: plan.kvCache === 'int8' ? cacheScales : null,
    });
    const model = graph.encode();
    await writeFile(join(dir, 'model.onnx'), model, { flush: true });
    return { 'model.onnx': identify(model), 'model.onnx.data': await data.finish() };
  } finally {
    await data.close();
  }
}

function describe(
  architecture: Architecture,
  plan: BuildPlan,
  facts: Pick<Manifest, 'parameters' | 'eos_token_ids' | 'files'>,
): Manifest {
  const { format, int8Layers, headFormat, accuracyLevel, calibrated, kvCache } = plan;
  const bits = format === 'float32' ? 32 : format.bits;
  return {
    format: 1,
    id: plan.id,
    source: { architecture: architecture.name },
    quantization: {
      bits,
      ...(int8Layers.length === 0 ? {} : { int8_layers: [...int8Layers] }),
      head_bits: headFormat === 'float32' ? 32 : headFormat.bits,
      block_size: format === 'float32' ? null : format.blockSize,
      accuracy_level: format === 'float32' ? null : accuracyLevel,
      ...(calibrated ? { calibrated } : {}),
      ...(kvCache === 'int8' ? { kv_cache: kvCache } : {}),
    },
    geometry: {
      layers: architecture.layers.length,
      heads: architecture.attention.heads,
      kv_heads: architecture.attention.kvHeads,
      head_size: architecture.attention.headSize,
      hidden_size: architecture.hiddenSize,
      vocabulary_size: architecture.vocabularySize,
    },
    logits: plan.logits,
    context_length: plan.contextLength,
    ...facts,
  };
}
