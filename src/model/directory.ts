import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Trust } from '../ipc/messages.ts';
import { messageOf } from '../lib/errors.ts';
import { ChatTemplate, templateOfConfig } from './chat-template.ts';
import type { Manifest } from './manifest.ts';
import { Tokenizer } from './tokenizer.ts';
import { checkFiles, invalid, parseJson, readManifest, unreadable } from './verified-manifest.ts';

export type { ModelErrorCode } from './verified-manifest.ts';

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

/**
 * Reads a model directory after it has checked every file against the manifest.
 *
 * @param trust whose signature the manifest must have; null where nobody's is asked for
 * @throws {SlmdError<ModelErrorCode>} naming the file
 */
export async function readModelDirectory(dir: string, trust: Trust | null = null): Promise<ModelDirectory> {
  const { manifest, sha256 } = await readManifest(dir, trust);
  await checkFiles(dir, manifest);
  const config = await readConfig(dir, manifest);
  const tokenizer = await readTokenizer(join(dir, 'tokenizer.json'), config);
  return {
    manifest,
    sha256,
    graphPath: join(dir, 'model.onnx'),
    tokenizer,
    template: await readTemplate(dir, manifest, config, tokenizer),
    stopIds: stopIds(manifest, tokenizer),
  };
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
