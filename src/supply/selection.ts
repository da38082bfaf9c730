import { basename, dirname } from 'node:path/posix';
import type { VariantKind } from '../ipc/messages.ts';
import { checkpointFiles, type Layout, layoutOf, onnxVariants } from '../model/layout.ts';
import { manifestFile } from '../model/manifest.ts';
import { signatureFile } from '../model/signature.ts';
import { rankVariants } from '../model/variant.ts';
import { SupplyError } from './errors.ts';
import type { HubFile } from './hub.ts';
import { smokeFile } from './smoke.ts';

export interface Wish {
  layout?: Layout | undefined;
  /** Of the graphs: `q4`, `int8` …; of onnxruntime-genai: part of a directory's name. */
  variant?: string | undefined;
  /** How weights are best kept, where there is a choice and no variant is named. */
  kind?: VariantKind | undefined;
}

export interface Selection {
  layout: Layout;
  variant: string | null;
  files: HubFile[];
}

/** What belongs to a model beside its weights, by name. */
const sideFiles = [
  'config.json',
  'generation_config.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'tokenizer.model',
  'special_tokens_map.json',
  'added_tokens.json',
  'vocab.json',
  'merges.txt',
  'chat_template.jinja',
  'chat_template.json',
  'LICENSE',
  'LICENSE.txt',
  'LICENSE.md',
  smokeFile,
];

/**
 * The files of a repository that a model needs: its weights once, and not in every form there is.
 *
 * @throws SupplyError `nothing_to_pull`, saying what there is
 */
export function selectFiles(
  files: readonly HubFile[],
  { layout, variant, kind = 'int4' }: Wish = {},
): Selection {
  const paths = files.map(({ path }) => path);
  const chosen = layout ?? (variant === undefined ? layoutOf(paths) : layoutWith(paths));
  switch (chosen) {
    case 'slmd':
      return whole(files, chosen, null, [manifestFile, signatureFile, smokeFile]);
    case 'safetensors':
      return withSideFiles(files, chosen, null, checkpointFiles(paths));
    case 'genai':
      return genai(files, variant, kind);
    case 'onnx':
      return onnx(files, variant, kind);
    case 'unknown':
      throw nothing(files, 'neither safetensors nor ONNX graphs of a decoder');
  }
}

/** Who names a variant wants graphs. */
function layoutWith(paths: readonly string[]): Layout {
  return paths.some((path) => basename(path) === 'genai_config.json') ? 'genai' : 'onnx';
}

function onnx(files: readonly HubFile[], wanted: string | undefined, kind: VariantKind): Selection {
  const variants = onnxVariants(files.map(({ path, bytes }) => ({ path, bytes: bytes ?? 0 })));
  // For the board that the model will run on, whichever that is: the weakest of them.
  const [best] = rankVariants(variants, { halfPrecision: false }, kind);
  const chosen = wanted === undefined ? best : variants.find(({ name }) => name === wanted);
  if (chosen === undefined)
    throw nothing(
      files,
      `no graph ${wanted ?? ''}; there are: ${variants.map(({ name }) => name).join(', ') || 'none'}`,
    );
  return withSideFiles(files, 'onnx', chosen.name, chosen.files);
}

/** A repository's own pages and other formats may lie in the same directory. */
const genaiPattern = /\.(json|onnx|jinja|model|txt)$|\.onnx[._]data/;

/** How its directories say what weights are kept in. */
const genaiKinds: Record<VariantKind, RegExp> = { int4: /int4/, int8: /int8/, float32: /fp32|float32/ };

function genai(files: readonly HubFile[], wanted: string | undefined, kind: VariantKind): Selection {
  const dirs = files
    .filter(({ path }) => basename(path) === 'genai_config.json')
    .map(({ path }) => dirname(path));
  const fits = wanted === undefined ? dirs : dirs.filter((dir) => dir.includes(wanted));
  const rank = (dir: string) => (dir.includes('cpu') ? 0 : 2) + (genaiKinds[kind].test(dir) ? 0 : 1);
  const [dir] = fits.toSorted((a, b) => rank(a) - rank(b));
  if (dir === undefined)
    throw nothing(
      files,
      `no directory ${wanted ?? ''} with genai_config.json; there are: ${dirs.join(', ') || 'none'}`,
    );
  const own = files
    .map(({ path }) => path)
    .filter((path) => dirname(path) === dir && genaiPattern.test(path));
  return whole(files, 'genai', dir === '.' ? null : basename(dir), own);
}

function withSideFiles(
  files: readonly HubFile[],
  layout: Layout,
  variant: string | null,
  weights: readonly string[],
): Selection {
  if (weights.length === 0) throw nothing(files, 'no model.safetensors, and no index with its shards');
  return whole(files, layout, variant, [...sideFiles, ...weights]);
}

function whole(
  files: readonly HubFile[],
  layout: Layout,
  variant: string | null,
  paths: readonly string[],
): Selection {
  const wanted = new Set(paths);
  return { layout, variant, files: files.filter(({ path }) => wanted.has(path)) };
}

function nothing(files: readonly HubFile[], reason: string): SupplyError {
  const weights = files
    .map(({ path }) => path)
    .filter((path) => /\.(bin|gguf|pt|pth|onnx|safetensors)$/.test(path));
  const shown = weights.slice(0, 5).join(', ');
  const there = weights.length === 0 ? '' : `; it has ${shown}${weights.length > 5 ? ', …' : ''}`;
  return new SupplyError('nothing_to_pull', `the repository has ${reason}${there}`);
}
