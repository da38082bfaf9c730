import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, join, relative } from 'node:path';
import type { Trust, VariantKind } from '../ipc/messages.ts';
import { SlmdError } from '../lib/errors.ts';
import { describeForeign, type ForeignModel, thisBoard } from '../model/foreign.ts';
import { filesMax, type Layout, layoutOf, type OnnxVariant, onnxVariants } from '../model/layout.ts';
import { type Manifest, manifestFile, quantizationName } from '../model/manifest.ts';
import { type ModelSize, sizeOf } from '../model/memory-need.ts';
import type { SignatureState } from '../model/signature.ts';
import { chooseVariant } from '../model/variant.ts';
import { readManifest } from '../model/verified-manifest.ts';
import { readSource, type Source } from './source.ts';

/** What is in a directory, as far as it can be said without loading it. */
export interface Inspection {
  dir: string;
  layout: Layout;
  bytes: number;
  /** Of slmd's own layout. */
  manifest: Manifest | null;
  signature: SignatureState | null;
  /** `architectures[0]` and `model_type` of `config.json`. */
  architecture: string | null;
  model_type: string | null;
  context_length: number | null;
  /** Graphs of the same model in several quantisations. */
  onnx_variants: OnnxVariant[];
  has_tokenizer: boolean;
  has_chat_template: boolean;
  source: Source | null;
  /** Of a layout of others: the graph that would run, and why it is that one. It runs as it is. */
  graph: { path: string; variant: string; reason: string } | null;
  /** Of that graph, or of slmd's own. */
  quantization: string | null;
  parameters: number | null;
  /** What its need of memory follows from. */
  size: ModelSize | null;
  /** Whether the engine can load it as it is. */
  runnable: boolean;
  /** Why it cannot, where its layout is one that runs. */
  refusal: { code: string; message: string } | null;
}

/**
 * Looks at a directory.
 *
 * @param kind of several graphs of others, that which keeps its weights so
 * @throws {SlmdError} where it is an slmd model whose manifest cannot be used or trusted
 */
export async function inspectModel(
  dir: string,
  trust: Trust | null,
  kind?: VariantKind,
): Promise<Inspection> {
  const files = await filesOf(dir);
  const names = files.map(({ path }) => path);
  const read = names.includes(manifestFile) ? await readManifest(dir, trust) : null;
  const layout = read?.manifest.layout ?? layoutOf(names);
  const variants = layout === 'onnx' ? onnxVariants(files) : [];
  const config = await readConfig(dir, names);
  const manifest = read?.manifest ?? null;
  const foreign = manifest === null ? await foreignOf(dir, kind) : null;
  const { model = null, refusal = null } = foreign ?? {};
  const facts = manifest ?? model?.manifest ?? null;
  return {
    dir,
    layout,
    bytes: files.reduce((sum, { bytes }) => sum + bytes, 0),
    manifest,
    signature: read?.signature ?? null,
    architecture: facts?.source.architecture ?? text((config.architectures as unknown[] | undefined)?.[0]),
    model_type: text(config.model_type) ?? text((config.model as { type?: unknown } | undefined)?.type),
    context_length: facts?.context_length ?? number(config.max_position_embeddings),
    onnx_variants: variants,
    has_tokenizer: names.some((name) => basename(name) === 'tokenizer.json'),
    has_chat_template: names.some((name) => basename(name).startsWith('chat_template.')),
    source: await readSource(dir),
    graph: model
      ? { path: model.manifest.graph, variant: model.variant, reason: model.reason }
      : takenOver(manifest, variants, kind),
    quantization: facts && quantizationName(facts.quantization),
    parameters: facts?.parameters ?? null,
    size: facts && sizeOf(facts),
    runnable: facts !== null,
    refusal,
  };
}

/** The graph that a model was taken over with. */
function takenOver(
  manifest: Manifest | null,
  variants: readonly OnnxVariant[],
  kind: VariantKind | undefined,
): Inspection['graph'] {
  const { layout, graph } = manifest ?? {};
  if (layout === undefined || graph === undefined) return null;
  const variant = variants.find(({ files }) => files.includes(graph))?.name ?? layout;
  const best = variants.length === 0 ? null : chooseVariant(variants, thisBoard(), kind);
  const reason =
    best === null || best.variant.name === variant
      ? ['taken over', ...(best === null ? [] : [best.reason])].join(': ')
      : `taken over, though for this board ${best.variant.name} is better: ${best.reason}`;
  return { path: graph, variant, reason };
}

type Foreign = { model: ForeignModel | null; refusal?: Inspection['refusal'] };

async function foreignOf(dir: string, kind: VariantKind | undefined): Promise<Foreign> {
  try {
    return { model: await describeForeign(dir, { kind }) };
  } catch (error) {
    if (!(error instanceof SlmdError)) throw error;
    return { model: null, refusal: { code: error.code, message: error.message } };
  }
}

async function filesOf(dir: string): Promise<{ path: string; bytes: number }[]> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  const paths = entries
    .filter((entry) => entry.isFile())
    .slice(0, filesMax)
    .map(({ parentPath, name }) => relative(dir, join(parentPath, name)));
  // What vanishes meanwhile has no bytes.
  const bytesOf = (path: string) =>
    stat(join(dir, path)).then(
      ({ size }) => size,
      () => 0,
    );
  return Promise.all(paths.toSorted().map(async (path) => ({ path, bytes: await bytesOf(path) })));
}

/** `config.json`, else `genai_config.json`; what is no JSON says nothing. */
async function readConfig(dir: string, names: readonly string[]): Promise<Record<string, unknown>> {
  for (const wanted of ['config.json', 'genai_config.json']) {
    const path = names.find((name) => basename(name) === wanted);
    if (path === undefined || names.includes(manifestFile)) continue;
    try {
      const json: unknown = JSON.parse(await readFile(join(dir, path), 'utf8'));
      if (typeof json === 'object' && json !== null) return json as Record<string, unknown>;
    } catch {
      // Of no interest to somebody who asks what else there is.
    }
  }
  return {};
}

function text(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}

function number(value: unknown): number | null {
  return typeof value === 'number' ? value : null;
}
