import { parseArgs } from 'node:util';
import type { Config } from '../config/schema.ts';
import { megabytes } from '../lib/megabytes.ts';
import type { Manifest } from '../model/manifest.ts';
import { kvBytes, sizeOf } from '../model/memory-need.ts';
import { type Inspection, inspectModel } from '../supply/inspect.ts';
import { boardAdvice } from './board-advice.ts';
import { coded } from './coded.ts';
import { modelContext, onlyOne, storeOptions, storeUsage } from './model-context.ts';
import { nextStep } from './next-step.ts';

export const inspectUsage = `slmd model inspect <model> [--json]

Says what a model is: one of the store by its name, or any directory by its path.

  --json           prints it as JSON
${storeUsage}`;

export async function modelInspect(args: string[]): Promise<void> {
  const options = { ...storeOptions, json: { type: 'boolean', default: false } } as const;
  const { values, positionals } = parseArgs({ args, allowPositionals: true, options });
  const model = onlyOne(positionals, 'model', inspectUsage);
  const { store, config } = modelContext(values);
  try {
    const inspection = await inspectModel(store.find(model), config.model.trust, config.model.variant);
    if (values.json) console.log(JSON.stringify(inspection, null, 2));
    else console.log(describe(inspection, config, nextStep(inspection, store, config)));
  } catch (error) {
    coded(error);
  }
}

const layoutNames: Record<Inspection['layout'], string> = {
  slmd: 'a model of slmd',
  safetensors: 'a checkpoint (safetensors), to be built',
  genai: 'onnxruntime-genai',
  onnx: 'transformers.js (onnx-community)',
  unknown: 'no model that is known',
};

function describe(inspection: Inspection, config: Config, next: string): string {
  const { manifest, source, onnx_variants, parameters, graph, refusal } = inspection;
  const facts: [string, string | null][] = [
    ['directory', inspection.dir],
    ['layout', layoutNames[inspection.layout]],
    ['size', megabytes(inspection.bytes, 1)],
    ['architecture', inspection.architecture ?? inspection.model_type],
    ['model', manifest?.id ?? null],
    ['parameters', parameters === null ? null : `${(parameters / 1e6).toFixed(2)} M`],
    ['quantization', inspection.quantization],
    ['on this board', inspection.size && boardAdvice(inspection.size, config)],
    ['KV cache', manifest && kvLine(manifest)],
    ['graphs', onnx_variants.map(({ name, bytes }) => `${name} (${megabytes(bytes, 1)})`).join(', ') || null],
    ['graph', graph && `${graph.variant} (${graph.path}): ${graph.reason}`],
    ['context', inspection.context_length === null ? null : `${inspection.context_length} tokens`],
    ['tokenizer', inspection.has_tokenizer ? 'tokenizer.json' : 'missing'],
    ['signature', inspection.signature && signatures[inspection.signature]],
    ['source', source && `${source.mirror}/${source.repo}, revision ${source.commit ?? source.revision}`],
    [
      'runs',
      refusal === null
        ? inspection.runnable
          ? graph === null
            ? 'yes'
            : 'yes, rounded as its graph says, whatever suits this board'
          : 'not as it is'
        : `no, ${refusal.code}: ${refusal.message}`,
    ],
    ['next', next],
  ];
  const known = facts.filter((fact): fact is [string, string] => fact[1] !== null);
  return known.map(([name, fact]) => `${name.padEnd(13)} ${fact}`).join('\n');
}

/** What others laid out keeps its cache in what its graph says. */
function kvLine(manifest: Manifest): string | null {
  if (manifest.layout !== undefined) return null;
  const kilobytes = kvBytes(sizeOf(manifest), 1) / 1000;
  return `${manifest.quantization.kv_cache ?? 'float32'}, ${kilobytes.toFixed(1)} kB a token`;
}

const signatures = {
  unsigned: 'none',
  signed: 'by a trusted key',
  untrusted: 'there, but model.public_key_file names no key to check it with',
};
