import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Trust } from '../ipc/messages.ts';
import { messageOf, SlmdError } from '../lib/errors.ts';
import type { GraphInterface } from '../onnx/graph-interface.ts';
import { manifestOf } from './adopt.ts';
import { ChatTemplate, templateOfConfig } from './chat-template.ts';
import { type ForeignWish, interfaceOf } from './foreign.ts';
import { formatManifest, type Manifest, manifestFile } from './manifest.ts';
import { Tokenizer } from './tokenizer.ts';
import {
  checkFiles,
  invalid,
  type ModelErrorCode,
  parseJson,
  readManifest,
  rootOf,
  unreadable,
} from './verified-manifest.ts';

export type { ModelErrorCode } from './verified-manifest.ts';

/** A model directory, checked and read, except for the graph and its weights. */
export interface ModelDirectory {
  manifest: Manifest;
  /** SHA-256 of the manifest file, lower-case hex. */
  sha256: string;
  graphPath: string;
  /** How the graph is fed, where others exported it. */
  foreign: GraphInterface | undefined;
  tokenizer: Tokenizer;
  /** Undefined for a model that was not trained to chat. */
  template: ChatTemplate | undefined;
  /** Tokens that end an answer. */
  stopIds: ReadonlySet<number>;
}

/**
 * Reads a model directory after it has checked every file against the manifest. One that others laid out
 * may have no manifest yet: then it gets one here, by what its files are now.
 *
 * @param trust whose signature the manifest must have; null where nobody's is asked for
 * @param wish of several graphs of others: the most exact one, whichever was taken over, or a kind that is preferred
 * @throws {SlmdError<ModelErrorCode>} naming the file
 */
export async function readModelDirectory(
  dir: string,
  trust: Trust | null = null,
  wish: Pick<ForeignWish, 'exact' | 'kind'> = {},
): Promise<ModelDirectory> {
  const { manifest, sha256, foreign } = await identify(dir, trust, wish);
  const root = join(dir, rootOf(manifest));
  const names = new Set(Object.keys(manifest.files).map((path) => join(dir, path)));
  const language = await readLanguage(root, (path) => names.has(path));
  return {
    manifest,
    sha256,
    graphPath: join(dir, manifest.graph ?? 'model.onnx'),
    foreign,
    ...language,
    stopIds: stopIds(manifest, language.tokenizer),
  };
}

/**
 * How a directory's model is spoken to, by its files.
 *
 * @param has whether a file belongs to it
 * @throws {SlmdError<ModelErrorCode>} naming the file
 */
export async function readLanguage(
  root: string,
  has: (path: string) => boolean,
): Promise<Pick<ModelDirectory, 'tokenizer' | 'template'>> {
  const config = await readConfig(root, has);
  const tokenizer = await readTokenizer(join(root, 'tokenizer.json'), config);
  return { tokenizer, template: await readTemplate(root, has, config, tokenizer) };
}

type Identified = Pick<ModelDirectory, 'manifest' | 'sha256' | 'foreign'>;

async function identify(
  dir: string,
  trust: Trust | null,
  wish: Pick<ForeignWish, 'exact' | 'kind'>,
): Promise<Identified> {
  const has = await stat(join(dir, manifestFile)).catch(() => null);
  const isOthers =
    has === null || (wish.exact && (await readManifest(dir, trust)).manifest.layout === 'onnx');
  const derived = isOthers ? await manifestOf(dir, wish) : null;
  if (derived !== null) {
    if (trust?.required) throw unsigned(dir);
    const { manifest, model } = derived;
    const sha256 = createHash('sha256').update(formatManifest(manifest)).digest('hex');
    return { manifest, sha256, foreign: model.interface };
  }
  const { manifest, sha256 } = await readManifest(dir, trust);
  await checkFiles(dir, manifest);
  const { layout, graph } = manifest;
  const foreign =
    layout === undefined || graph === undefined ? undefined : await interfaceOf(dir, { layout, graph });
  return { manifest, sha256, foreign };
}

function unsigned(dir: string): SlmdError<ModelErrorCode> {
  return new SlmdError(
    'model_untrusted',
    `the model in ${dir} is refused: it is not signed and model.public_key_file asks for it; slmd model sign does it`,
  );
}

async function readConfig(root: string, has: (path: string) => boolean): Promise<Record<string, unknown>> {
  const path = join(root, 'tokenizer_config.json');
  if (!has(path)) return {};
  return parseJson(await readText(path), path);
}

async function readTokenizer(path: string, config: Record<string, unknown>): Promise<Tokenizer> {
  const tokenizer = parseJson(await readText(path), path);
  try {
    return new Tokenizer({ tokenizer, config });
  } catch (thrown) {
    throw invalid(path, messageOf(thrown));
  }
}

async function readTemplate(
  root: string,
  has: (path: string) => boolean,
  config: Record<string, unknown>,
  tokenizer: Tokenizer,
): Promise<ChatTemplate | undefined> {
  const ownPath = join(root, 'chat_template.jinja');
  const own = has(ownPath);
  const path = own ? ownPath : join(root, 'tokenizer_config.json');
  const source = own ? await readText(path) : templateOfConfig(config);
  if (source === undefined) return undefined;
  try {
    return new ChatTemplate(source, tokenizer);
  } catch (thrown) {
    throw invalid(path, messageOf(thrown));
  }
}

/** Checkpoints made to chat sometimes name the end of a turn in the tokenizer's files only. */
function stopIds({ eos_token_ids }: Manifest, tokenizer: Tokenizer): ReadonlySet<number> {
  const eos = tokenizer.eosToken === undefined ? undefined : tokenizer.idOf(tokenizer.eosToken);
  return new Set(eos === undefined ? eos_token_ids : [...eos_token_ids, eos]);
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (thrown) {
    throw unreadable(path, thrown);
  }
}
