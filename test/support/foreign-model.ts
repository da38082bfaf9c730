import { cpSync, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Checkpoint } from '../../src/builder/checkpoint.ts';
import { readArchitecture } from '../../src/builder/config.ts';
import { buildDecoder } from '../../src/builder/decoder.ts';
import { type BuildOptions, planBuild } from '../../src/builder/options.ts';
import { StreamedWeights } from '../../src/builder/weights.ts';
import { ExternalDataWriter } from '../../src/onnx/external-data.ts';
import { type ForeignForm, ForeignGraph, usualForm } from './foreign-graph.ts';
import { type TinyCheckpointOptions, writeTinyCheckpoint } from './tiny-checkpoint.ts';
import { writeTinyTokenizer } from './tiny-tokenizer.ts';

export interface ForeignModelOptions {
  checkpoint?: TinyCheckpointOptions;
  build?: Pick<BuildOptions, 'quantization' | 'accuracyLevel' | 'logits' | 'blockSize'>;
  form?: Partial<ForeignForm>;
}

/**
 * Writes a tiny model in the layout of transformers.js, as `onnx/model<suffix>.onnx`. Into a directory that
 * has one it adds a variant.
 */
export async function writeTransformersJsModel(
  dir: string,
  options: ForeignModelOptions & { suffix?: string } = {},
): Promise<void> {
  const name = `model${options.suffix ?? ''}.onnx`;
  mkdirSync(join(dir, 'onnx'), { recursive: true });
  await writeModel(dir, join(dir, 'onnx', name), options);
}

const made: string[] = [];
process.once('exit', () => {
  for (const dir of made) rmSync(dir, { recursive: true, force: true });
});

/** As `writeTransformersJsModel`, in a temporary directory of its own. */
export async function foreignModelDir(options: ForeignModelOptions): Promise<string> {
  const parent = mkdtempSync(join(tmpdir(), 'slmd-foreign-model-'));
  made.push(parent);
  const dir = join(parent, 'tiny');
  await writeTransformersJsModel(dir, options);
  return dir;
}

/** Writes a tiny model in the layout of onnxruntime-genai. */
export async function writeGenaiModel(
  dir: string,
  options: ForeignModelOptions & { config?: (config: GenaiConfig) => void } = {},
): Promise<void> {
  const form: ForeignForm = { ...usualForm, attention: 'grouped', positions: false, ...options.form };
  mkdirSync(dir, { recursive: true });
  await writeModel(dir, join(dir, 'model.onnx'), { ...options, form });
  const config = genaiConfig(form, options.checkpoint ?? {});
  options.config?.(config);
  writeFileSync(join(dir, 'genai_config.json'), JSON.stringify(config, null, 2));
}

/** Only what tests change has a type. */
export interface GenaiConfig {
  model: {
    type: string;
    eos_token_id: number | number[];
    context_length: number;
    vocab_size: number;
    decoder: Record<string, unknown> & {
      filename: string;
      inputs: Record<string, string>;
      outputs: Record<string, string>;
    };
    [section: string]: unknown;
  };
  search: Record<string, unknown>;
}

function genaiConfig(form: ForeignForm, checkpoint: TinyCheckpointOptions): GenaiConfig {
  const { combined, positions, names } = form;
  const cache = (side: 'past' | 'present') =>
    combined
      ? { [`${side}_names`]: `${side}_%d` }
      : Object.fromEntries(
          ['key', 'value'].map((kind) => [
            `${side}_${kind}_names`,
            names[`${side}.${kind}`] ?? `${side === 'past' ? 'past_key_values' : 'present'}.%d.${kind}`,
          ]),
        );
  return {
    model: {
      type: 'llama',
      bos_token_id: 256,
      eos_token_id: [258, 256],
      pad_token_id: 259,
      context_length: checkpoint.contextLength ?? 256,
      vocab_size: checkpoint.vocabularySize ?? 260,
      decoder: {
        session_options: { log_id: 'onnxruntime-genai', provider_options: [] },
        filename: 'model.onnx',
        head_size: checkpoint.headSize ?? 16,
        hidden_size: checkpoint.hiddenSize ?? 64,
        num_attention_heads: checkpoint.heads ?? 4,
        num_hidden_layers: checkpoint.layers ?? 2,
        num_key_value_heads: checkpoint.kvHeads ?? 2,
        inputs: {
          input_ids: names.input_ids ?? 'input_ids',
          attention_mask: names.attention_mask ?? 'attention_mask',
          ...(positions ? { position_ids: 'position_ids' } : {}),
          ...cache('past'),
        },
        outputs: { logits: names.logits ?? 'logits', ...cache('present') },
      },
    },
    search: { max_length: 256, past_present_share_buffer: form.attention === 'grouped' },
  };
}

async function writeModel(dir: string, path: string, options: ForeignModelOptions): Promise<void> {
  const source = mkdtempSync(join(tmpdir(), 'slmd-foreign-checkpoint-'));
  try {
    writeTinyCheckpoint(source, options.checkpoint);
    await writeForeignGraph(source, path, options);
    cpSync(join(source, 'config.json'), join(dir, 'config.json'));
    writeTinyTokenizer(dir);
  } finally {
    rmSync(source, { recursive: true });
  }
}

/** The graph of a checkpoint in a form, with its weights beside it. */
async function writeForeignGraph(
  checkpointDir: string,
  path: string,
  { build = {}, form: partial = {} }: ForeignModelOptions,
): Promise<void> {
  const file = path.slice(dirname(path).length + 1);
  const form: ForeignForm = { ...usualForm, locations: [`${file}_data`], ...partial };
  const architecture = await readArchitecture(checkpointDir);
  const logits = form.logitsKept ? 'all' : (build.logits ?? 'all');
  const plan = planBuild(architecture, 'foreign', { ...build, logits });
  const graph = new ForeignGraph(form, {
    headSize: architecture.attention.headSize,
    rotated: architecture.ropes[0]!.dimensions,
  });
  const checkpoint = await Checkpoint.open(checkpointDir, () => undefined);
  const written = `${path}.weights`;
  const data = await ExternalDataWriter.create(written);
  try {
    await buildDecoder(graph, new StreamedWeights(checkpoint, data), architecture, plan);
    writeFileSync(path, graph.encode());
  } finally {
    await data.close();
    await checkpoint.close();
  }
  // Each tensor names one of the files; all of them hold every tensor at its place.
  for (const location of form.locations) {
    const target = join(dirname(path), location);
    if (!existsSync(target)) cpSync(written, target);
  }
  rmSync(written);
}

/** Moves a model's files into a directory inside its own, as repositories with several builds have them. */
export function nest(dir: string, below: string): void {
  renameSync(dir, `${dir}.nested`);
  mkdirSync(dir);
  renameSync(`${dir}.nested`, join(dir, below));
}
