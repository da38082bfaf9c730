import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { type BuildOptions, buildModel } from '../builder/build-model.ts';
import { Calibration } from '../builder/calibrate.ts';
import { defaultTexts } from '../builder/default-texts.ts';
import { megabytes } from '../lib/megabytes.ts';
import { sizeOf } from '../model/memory-need.ts';
import { boardAdvice } from './board-advice.ts';
import { coded } from './coded.ts';
import { configFile, readConfiguration } from './configuration.ts';
import { CommandError, exitCodes } from './exit-codes.ts';
import { buildChosen, type Tried } from './model-choose.ts';
import type { OnStep } from './model-compare.ts';
import { numberOption } from './number-option.ts';
import { Steps } from './progress.ts';

export const buildUsage = `slmd model build <checkpoint> --out <dir> [options]

Turns a checkpoint (config.json, safetensors, tokenizer.json) into a model directory: Llama and SmolLM2,
Qwen2 and 2.5, Qwen3, Gemma 2 and 3 (text), Phi-3 and Phi-4-mini, Granite 3 (dense and mixture of experts).

  --out <dir>            where to; must not exist
  --quantization <q>     int4, int8 or float32 (default: model.variant, which the device profile sets); auto builds
                         several and compares each with float32: the fastest that is good is taken, by the bytes
                         that a token reads
  --block-size <n>       weights that share a scale: 32 (default), 64 or 128
  --int8-layers <list>   layers that get eight bits in an int4 model, such as 0,1,23
  --scales <how>         search (default) for the smallest error, or nearest, which is quicker
  --calibrate <texts>    lets the checkpoint read texts first, so that errors of rounding make each other good:
                         default, or a file of texts with an empty line between them
  --kv-cache <type>      float32, or int8: a quarter of the memory, a little less exact, and slower reading of long
                         prompts; the checkpoint reads texts first (those of --calibrate, or default ones) to find
                         the scales (default: model.kv_cache, which the device profile sets)
  --head-bits <n>        4 or 8, where the head should differ from the layers
  --accuracy-level <n>   4 (default) computes with int8 activations, 0 in float32
  --context-length <n>   tokens of prompt plus completion (default: what the model was trained for)
  --logits <which>       last (default) or all positions, for measuring
  --id <name>            the model's name in info and results
  --force                replaces a model that is already there
  --config <file>        the YAML file (default: $SLMD_CONFIG, else /etc/slmd/slmd.yaml if there)

For another board than this one, SLMD_PROFILE names it.`;

export async function modelBuild(args: string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      out: { type: 'string' },
      quantization: { type: 'string' },
      'block-size': { type: 'string' },
      'int8-layers': { type: 'string' },
      scales: { type: 'string' },
      calibrate: { type: 'string' },
      'kv-cache': { type: 'string' },
      'head-bits': { type: 'string' },
      'accuracy-level': { type: 'string' },
      'context-length': { type: 'string' },
      logits: { type: 'string' },
      id: { type: 'string' },
      force: { type: 'boolean', default: false },
      config: { type: 'string' },
    },
  });
  const [checkpoint] = positionals;
  if (checkpoint === undefined || positionals.length > 1 || values.out === undefined)
    throw new CommandError(exitCodes.usage, `one checkpoint and --out are needed\n\n${buildUsage}`);
  if (values.quantization === 'auto' && values['block-size'] !== undefined)
    throw new CommandError(exitCodes.usage, '--quantization auto chooses the block size too');

  const { config } = readConfiguration(configFile(values.config));
  const { quantization = config.model.variant, 'kv-cache': kvCache = config.model.kv_cache } = values;
  const steps = new Steps();
  // The builder leaves nothing half-made behind, if it is asked to stop and not shot.
  const interrupted = new AbortController();
  process.once('SIGINT', () => interrupted.abort(new CommandError(exitCodes.interrupted, 'interrupted')));
  const onStep = (label: string, done: number, total: number) => steps.report(label, done, total);
  // What the values may be, the builder knows: it refuses others by name.
  const options = {
    ...given(
      'int8Layers',
      values['int8-layers']?.split(',').map((layer) => numberOption('int8-layers', layer)),
    ),
    ...given('scales', values.scales),
    ...(values.calibrate !== undefined && { calibration: calibrationOf(values.calibrate, onStep) }),
    kvCache,
    ...(kvCache === 'int8' && { cacheCalibration: calibrationOf('default', onStep) }),
    ...given('headBits', numberOption('head-bits', values['head-bits'])),
    ...given('accuracyLevel', numberOption('accuracy-level', values['accuracy-level'])),
    ...given('contextLength', numberOption('context-length', values['context-length'])),
    ...given('logits', values.logits),
    ...given('id', values.id),
    force: values.force,
    signal: interrupted.signal,
  } as BuildOptions;
  const layout = {
    quantization,
    ...given('blockSize', numberOption('block-size', values['block-size'])),
  } as BuildOptions;
  const build = (from: string, to: string) =>
    buildModel(from, to, {
      ...options,
      ...layout,
      onProgress: ({ bytesDone, bytesTotal }) => onStep('building', bytesDone, bytesTotal),
    });
  const choose = (from: string, to: string) =>
    buildChosen(from, to, options, {
      threads: 0,
      onStep,
      onTried: (tried) => console.log(triedLine(tried)),
      onChosen: (chosen) => console.log(chosenLine(chosen)),
    });
  try {
    const manifest = await (quantization === 'auto' ? choose : build)(
      resolve(checkpoint),
      resolve(values.out),
    );
    steps.end();
    const bytes = Object.values(manifest.files).reduce((sum, file) => sum + file.bytes, 0);
    console.log(
      `${manifest.id}: ${(manifest.parameters / 1e6).toFixed(2)} M parameters, ${megabytes(bytes, 1)}, in ${values.out}`,
    );
    const advice = boardAdvice(sizeOf(manifest), config);
    if (advice !== null) console.error(advice);
  } catch (error) {
    steps.end();
    coded(error);
  }
}

function triedLine({ layout, bytes, comparison }: Tried): string {
  const { verdict, answers, perplexity_ratio } = comparison;
  const prose = perplexity_ratio === null ? '' : `, perplexity × ${perplexity_ratio.toFixed(3)}`;
  const same = `${(100 * answers.greedy_agreement).toFixed(2)} % of tokens the same`;
  const read = `${megabytes(bytes, 1)} a token`;
  return `${nameOf(layout)}: ${read}, ${same}, KL ${answers.kl_divergence.toFixed(4)}${prose}: ${verdict}`;
}

function chosenLine({ layout, comparison }: Tried): string {
  const why =
    comparison.verdict === 'good'
      ? 'of those that are good, a token reads the least of it'
      : 'none is good, and this one is the nearest to float32';
  return `${nameOf(layout)} is taken: ${why}`;
}

function nameOf({ quantization, blockSize }: Tried['layout']): string {
  return `${quantization} b${blockSize}`;
}

function calibrationOf(texts: string, onStep: OnStep): Calibration {
  const onProgress = (done: number, total: number) => onStep('calibrating', done, total);
  if (texts === 'default') return new Calibration(defaultTexts, onProgress);
  try {
    const parts = readFileSync(texts, 'utf8').split(/\r?\n\s*\n/);
    return new Calibration(
      parts.filter((part) => part.trim() !== ''),
      onProgress,
    );
  } catch {
    throw new CommandError(exitCodes.failed, `${texts} cannot be read`);
  }
}

function given(name: string, value: string | number | number[] | undefined): object {
  return value === undefined ? {} : { [name]: value };
}
