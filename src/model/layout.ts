import { basename } from 'node:path';
import { manifestFile } from './manifest.ts';

/**
 * How the files of a model are laid out:
 * - `slmd`: a model directory of slmd, ready to run
 * - `safetensors`: a checkpoint, to be built by `slmd model build`
 * - `genai`: onnxruntime-genai, a graph beside `genai_config.json`
 * - `onnx`: transformers.js and onnx-community, graphs in several quantisations in `onnx/`
 */
export type Layout = 'slmd' | 'safetensors' | 'genai' | 'onnx' | 'unknown';

/** The hub's largest repositories of one model have some thousands of files, nearly all of them other formats. */
export const filesMax = 10_000;

export interface SizedPath {
  path: string;
  bytes: number;
}

export interface OnnxVariant {
  /** `q4`, `int8`, `fp16` …; `fp32` for a graph without a suffix. */
  name: string;
  /** The graph and its external data. */
  files: string[];
  bytes: number;
}

/** The best layout that is there: one that runs, before one that can be made to run, before others. */
export function layoutOf(paths: readonly string[]): Layout {
  if (paths.includes(manifestFile)) return 'slmd';
  if (checkpointFiles(paths).length > 0) return 'safetensors';
  if (paths.some((path) => basename(path) === 'genai_config.json')) return 'genai';
  if (paths.some((path) => graphPattern.test(path))) return 'onnx';
  return 'unknown';
}

const shardPattern = /^model-\d{5}-of-\d{5}\.safetensors$/;

/** The weights of a checkpoint: one file, or an index and its shards. */
export function checkpointFiles(paths: readonly string[]): string[] {
  if (paths.includes('model.safetensors')) return ['model.safetensors'];
  const index = 'model.safetensors.index.json';
  const shards = paths.filter((path) => shardPattern.test(path));
  return paths.includes(index) && shards.length > 0 ? [index, ...shards] : [];
}

const graphPattern = /^(?:onnx\/)?(?:decoder_)?model(?:_merged)?(?:_([a-z0-9]+))?\.onnx$/;

/** Graphs of one model that differ in their quantisation, each with its external data, the smallest first. */
export function onnxVariants(files: readonly SizedPath[]): OnnxVariant[] {
  const variants = files.flatMap(({ path }) => {
    const match = graphPattern.exec(path);
    if (match === null) return [];
    const own = files.filter((file) => file.path === path || isExternalData(file.path, path));
    const bytes = own.reduce((sum, file) => sum + file.bytes, 0);
    return [{ name: match[1] ?? 'fp32', files: own.map((file) => file.path), bytes }];
  });
  return variants.toSorted((a, b) => a.bytes - b.bytes);
}

/** `model_q4.onnx_data`, `model_q4.onnx_data_1`, `model.onnx.data`: whatever adds to a graph's name. */
function isExternalData(path: string, graph: string): boolean {
  return path.startsWith(graph) && /^[._]data(?:_\d+)?$/.test(path.slice(graph.length));
}
