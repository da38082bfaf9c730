/** A directory in a layout of others → what the engine needs of it, from its graph and its configuration. */

import { readdir, stat } from 'node:fs/promises';
import { basename, dirname, join, normalize, resolve } from 'node:path';
import type { VariantKind } from '../ipc/messages.ts';
import { messageOf, SlmdError } from '../lib/errors.ts';
import { memoryBytes } from '../lib/memory.ts';
import { hasByteProducts, hasHalfPrecision } from '../onnx/cpu.ts';
import { type GraphFile, readGraphFile } from '../onnx/graph-file.ts';
import { type GraphInterface, readGraphInterface, usualNames } from '../onnx/graph-interface.ts';
import { eosOf, genaiConfigFile, readConfig, readGenai, type Sizes } from './foreign-configs.ts';
import type { GenaiModel } from './genai-config.ts';
import { graphFacts } from './graph-facts.ts';
import { filesMax, onnxVariants, type SizedPath } from './layout.ts';
import { type Manifest, modelIdPattern } from './manifest.ts';
import { chooseVariant, mostExact, type VariantBoard } from './variant.ts';
import { invalid, rootOf, unreadable } from './verified-manifest.ts';

/** Everything of a manifest but the hashes. */
export type ForeignManifest = Omit<Manifest, 'files' | keyof Place> & Place;

/** In whose layout a model is, and the path of its graph. */
export interface Place {
  layout: 'onnx' | 'genai';
  graph: string;
}

export interface ForeignModel {
  manifest: ForeignManifest;
  /** What the engine reads of the directory: paths in it. */
  files: string[];
  /** The name of the graph among several of the model, and why it is that one. */
  variant: string;
  reason: string;
  interface: GraphInterface;
}

export interface ForeignWish {
  /** A variant by its name; without it the best for the board. */
  variant?: string | undefined;
  /** The one that was rounded least, to compare others with. */
  exact?: boolean | undefined;
  /** How the weights are to be kept, where a graph does so that fits. */
  kind?: VariantKind | undefined;
  board?: VariantBoard;
}

/**
 * Describes a model of transformers.js or onnxruntime-genai; null where the directory holds neither.
 *
 * @throws {SlmdError<ModelErrorCode>} `model_unsupported` where it is of a kind that slmd does not run,
 *   `model_missing` and `model_invalid` by the file
 */
export async function describeForeign(dir: string, wish: ForeignWish = {}): Promise<ForeignModel | null> {
  const files = await filesOf(dir);
  const names = files.map(({ path }) => path);
  const config = genaiConfigOf(dir, names);
  if (config !== undefined) return describeGenai(dir, names, config);
  const variants = onnxVariants(files);
  if (variants.length === 0) return null;
  const named = variants.find(({ name }) => name === wish.variant);
  if (wish.variant !== undefined && named === undefined) {
    const there = variants.map(({ name }) => name).join(', ');
    throw new SlmdError('model_missing', `${dir} has no graph ${wish.variant}; there are: ${there}`);
  }
  const { variant, reason } = named
    ? { variant: named, reason: 'as asked for' }
    : wish.exact
      ? mostExact(variants)
      : chooseVariant(variants, wish.board ?? thisBoard(), wish.kind);
  return describeOnnx(
    dir,
    names,
    variant.files.find((file) => file.endsWith('.onnx'))!,
    variant.name,
    reason,
  );
}

/** How a graph of a layout is called and what it is fed, for a directory that has a manifest of it. */
export async function interfaceOf(dir: string, { layout, graph }: Place): Promise<GraphInterface> {
  if (layout === 'genai') {
    const genai = await readGenai(dir, join(rootOf({ layout, graph }), genaiConfigFile));
    return readInterface(dir, graph, readGraph(dir, graph), genai);
  }
  return readInterface(dir, graph, readGraph(dir, graph), await readConfig(dir, 'config.json'));
}

/** @param root stands before /proc/cpuinfo, so that tests can show it any board */
export function thisBoard(root?: string): VariantBoard {
  return {
    halfPrecision: hasHalfPrecision(root),
    byteProducts: hasByteProducts(root),
    memoryBytes: memoryBytes(),
  };
}

/** Repositories have their builds in directories of directories, and no deeper. */
const depthMax = 3;

/** The files of a directory by their paths, up to bounds: whoever names a wrong directory is to hear so soon. */
async function filesOf(dir: string): Promise<SizedPath[]> {
  const files: SizedPath[] = [];
  const walk = async (at: string, depth: number): Promise<void> => {
    const entries = await readdir(join(dir, at), { withFileTypes: true }).catch(() => []);
    for (const entry of entries) {
      if (files.length === filesMax) return;
      const path = join(at, entry.name);
      if (entry.isDirectory() && depth < depthMax) await walk(path, depth + 1);
      // A hub's cache has links in place of files.
      const found = entry.isDirectory() ? null : await stat(join(dir, path)).catch(() => null);
      if (found?.isFile()) files.push({ path, bytes: found.size });
    }
  };
  await walk('.', 1);
  return files.toSorted((a, b) => (a.path < b.path ? -1 : 1));
}

/** The one of the directory itself, or the only one below it. */
function genaiConfigOf(dir: string, names: readonly string[]): string | undefined {
  const configs = names.filter((name) => basename(name) === genaiConfigFile);
  const [first] = configs;
  if (configs.length < 2 || names.includes(genaiConfigFile))
    return names.find((n) => n === genaiConfigFile) ?? first;
  const there = configs.map((path) => join(dir, dirname(path))).join(', ');
  throw new SlmdError('model_invalid', `${dir} has several models, of which one can be named: ${there}`);
}

async function describeGenai(
  dir: string,
  names: readonly string[],
  configPath: string,
): Promise<ForeignModel> {
  const genai = await readGenai(dir, configPath);
  const graph = join(dirname(configPath), genai.filename);
  const file = readGraph(dir, graph);
  const found = readInterface(dir, graph, file, genai);
  const where = { layout: 'genai', graph } as const;
  return {
    manifest: {
      format: 2,
      ...where,
      ...shapeOf(dir, found, file, genai),
      source: { architecture: genai.type },
      context_length: genai.context_length,
      eos_token_ids: genai.eos_token_ids,
    },
    files: filesRead(dir, names, where, file),
    variant: basename(dirname(configPath) === '.' ? resolve(dir) : dirname(configPath)),
    reason: 'the one there is',
    interface: found,
  };
}

async function describeOnnx(
  dir: string,
  names: readonly string[],
  graph: string,
  variant: string,
  reason: string,
): Promise<ForeignModel> {
  const config = await readConfig(dir, 'config.json');
  const file = readGraph(dir, graph);
  const found = readInterface(dir, graph, file, config);
  if (config.context_length === undefined)
    throw invalid(join(dir, 'config.json'), 'it says no max_position_embeddings');
  const where = { layout: 'onnx', graph } as const;
  return {
    manifest: {
      format: 2,
      ...where,
      ...shapeOf(dir, found, file, config),
      source: { architecture: config.architecture },
      context_length: config.context_length,
      eos_token_ids: await eosOf(dir, names),
    },
    files: filesRead(dir, names, where, file),
    variant,
    reason,
    interface: found,
  };
}

function shapeOf(dir: string, found: GraphInterface, file: GraphFile, { heads, hidden_size }: Sizes) {
  const [{ heads: kv_heads, headSize: head_size, combined }] = found.cache as [GraphInterface['cache'][0]];
  const inGraph = file.nodes
    .find(({ attributes }) => attributes.has('num_heads'))
    ?.attributes.get('num_heads');
  const count = heads ?? inGraph ?? kv_heads;
  return {
    id: idOf(dir),
    ...graphFacts(file),
    geometry: {
      layers: Math.ceil(found.cache.length / (combined ? 1 : 2)),
      heads: count,
      kv_heads,
      head_size,
      hidden_size: hidden_size ?? count * head_size,
      vocabulary_size: found.vocabularySize,
    },
    logits: found.inputs.some(({ meaning }) => meaning === 'logitsKept')
      ? ('last' as const)
      : ('all' as const),
  };
}

/** A directory's name in the characters that a model id may have. */
function idOf(dir: string): string {
  const kept = basename(resolve(dir))
    .toLowerCase()
    .replace(/[^a-z0-9._-]+/g, '-');
  const id = kept.replace(/^[^a-z0-9]+/, '').slice(0, 63);
  return modelIdPattern.test(id) ? id : 'model';
}

function readGraph(dir: string, graph: string): GraphFile {
  const path = join(dir, graph);
  try {
    return readGraphFile(path);
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== undefined) throw unreadable(path, thrown);
    throw invalid(path, messageOf(thrown));
  }
}

function readInterface(
  dir: string,
  graph: string,
  file: GraphFile,
  config: Sizes & Partial<Pick<GenaiModel, 'names'>>,
): GraphInterface {
  try {
    return readGraphInterface(file, config.names ?? usualNames, config.vocabulary_size);
  } catch (thrown) {
    if (!(thrown instanceof SlmdError)) throw thrown;
    throw new SlmdError('model_unsupported', `slmd cannot run ${join(dir, graph)}: ${thrown.message}`);
  }
}

/** What is read beside the graph and its weights, where it is there. */
const sideFiles = [
  'tokenizer.json',
  'tokenizer_config.json',
  'chat_template.jinja',
  'config.json',
  'generation_config.json',
  genaiConfigFile,
  'smoke.json',
];

/** @throws {SlmdError} `model_missing` where the tokenizer or weights are not there, `model_invalid` where weights are elsewhere */
function filesRead(dir: string, names: readonly string[], where: Place, { weights }: GraphFile): string[] {
  const root = rootOf(where);
  const beside = sideFiles.map((name) => join(root, name)).filter((path) => names.includes(path));
  const locations = new Set(weights.flatMap(({ location }) => (location === null ? [] : [location])));
  const data = [...locations].map((location) => {
    const path = join(dirname(where.graph), location);
    if (normalize(path).startsWith('..') || location.startsWith('/'))
      throw invalid(join(dir, where.graph), `its weights are outside the directory: ${location}`);
    return path;
  });
  const needed = [where.graph, ...data, join(root, 'tokenizer.json')];
  const missing = needed.find((path) => !names.includes(path));
  if (missing !== undefined)
    throw new SlmdError(
      'model_missing',
      `there is no ${join(dir, missing)}, which the model needs: pull it again`,
    );
  return [...new Set([...needed, ...beside])];
}
