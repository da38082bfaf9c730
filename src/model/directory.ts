import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { messageOf, SlmdError } from '../lib/errors.ts';
import { ChatTemplate, templateOfConfig } from './chat-template.ts';
import { type Manifest, manifestFile, manifestSchema } from './manifest.ts';
import { Tokenizer } from './tokenizer.ts';

/** `model_missing`: a file is not there. `model_invalid`: it is, and is not what it should be. */
export type ModelErrorCode = 'model_missing' | 'model_invalid';

/** A model directory, checked and read, except for the graph and its weights. */
export interface ModelDirectory {
  manifest: Manifest;
  /** SHA-256 of the manifest file, lower-case hex. */
  sha256: string;
  graphPath: string;
  tokenizer: Tokenizer;
  /** Undefined for a model that was not trained to chat. */
  template: ChatTemplate | undefined;
  /** Tokens that end an answer. */
  stopIds: ReadonlySet<number>;
}

const requiredFiles = ['model.onnx', 'model.onnx.data', 'tokenizer.json'];

/**
 * Reads a model directory after it has checked every file against the manifest.
 *
 * @throws {SlmdError<ModelErrorCode>} naming the file
 */
export async function readModelDirectory(dir: string): Promise<ModelDirectory> {
  const manifestText = await readText(join(dir, manifestFile));
  const manifest = parseManifest(manifestText, join(dir, manifestFile));
  // Sizes of all files before the hash of any: a download that broke off is found at once.
  for (const [name, { bytes }] of Object.entries(manifest.files)) await checkSize(join(dir, name), bytes);
  for (const [name, { sha256 }] of Object.entries(manifest.files)) await checkHash(join(dir, name), sha256);
  const config = await readConfig(dir, manifest);
  const tokenizer = await readTokenizer(join(dir, 'tokenizer.json'), config);
  return {
    manifest,
    sha256: createHash('sha256').update(manifestText).digest('hex'),
    graphPath: join(dir, 'model.onnx'),
    tokenizer,
    template: await readTemplate(dir, manifest, config, tokenizer),
    stopIds: stopIds(manifest, tokenizer),
  };
}

function parseManifest(text: string, path: string): Manifest {
  const parsed = manifestSchema.safeParse(parseJson(text, path));
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw invalid(path, `${issue?.path.join('.')}: ${issue?.message}`);
  }
  const names = Object.keys(parsed.data.files);
  for (const name of names) {
    if (basename(name) !== name) throw invalid(path, `it names a file outside the directory: ${name}`);
  }
  for (const name of requiredFiles) {
    if (!names.includes(name)) throw invalid(path, `it does not name ${name}`);
  }
  return parsed.data;
}

async function checkSize(path: string, bytes: number): Promise<void> {
  const { size } = await stat(path).catch((thrown: unknown) => {
    throw unreadable(path, thrown);
  });
  if (size !== bytes) throw invalid(path, `it has ${size} bytes and the manifest says ${bytes}`);
}

async function checkHash(path: string, sha256: string): Promise<void> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path, { highWaterMark: 1024 * 1024 }), hash).catch((thrown: unknown) => {
    throw unreadable(path, thrown);
  });
  if (hash.digest('hex') !== sha256) throw invalid(path, 'its SHA-256 is not the one in the manifest');
}

async function readConfig(dir: string, { files }: Manifest): Promise<Record<string, unknown>> {
  if (files['tokenizer_config.json'] === undefined) return {};
  const path = join(dir, 'tokenizer_config.json');
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
  dir: string,
  { files }: Manifest,
  config: Record<string, unknown>,
  tokenizer: Tokenizer,
): Promise<ChatTemplate | undefined> {
  const own = files['chat_template.jinja'] !== undefined;
  const path = join(dir, own ? 'chat_template.jinja' : 'tokenizer_config.json');
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

function parseJson(text: string, path: string): Record<string, unknown> {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw invalid(path, 'it is not JSON');
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json))
    throw invalid(path, 'it is no object');
  return json as Record<string, unknown>;
}

function unreadable(path: string, thrown: unknown): SlmdError<ModelErrorCode> {
  const missing = (thrown as NodeJS.ErrnoException).code === 'ENOENT';
  const line = missing
    ? `there is no ${path}: set model.dir (SLMD_MODEL_DIR) to a model, or make one with slmd model build`
    : `cannot read ${path}: ${messageOf(thrown)}`;
  return new SlmdError('model_missing', line, { cause: thrown });
}

function invalid(path: string, reason: string): SlmdError<ModelErrorCode> {
  return new SlmdError('model_invalid', `${path} cannot be used: ${reason}`);
}
