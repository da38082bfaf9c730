import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from '../lib/errors.ts';
import { eosTokenIds } from '../model/eos-tokens.ts';
import type { Manifest } from '../model/manifest.ts';
import { Tokenizer } from '../model/tokenizer.ts';
import { BuildError } from './errors.ts';

type Files = Manifest['files'];

/** Files that a model directory takes over from the checkpoint, where they are there. */
const copiedFiles = [
  'tokenizer.json',
  'tokenizer_config.json',
  'chat_template.jinja',
  'config.json',
  'generation_config.json',
  'smoke.json',
];

/** Copies what belongs to a model beside its graph. @returns the manifest's entries */
export async function copySideFiles(from: string, to: string): Promise<Files> {
  const files: Files = {};
  for (const name of copiedFiles) {
    const content = await readIfPresent(join(from, name));
    if (content === undefined) continue;
    await writeFile(join(to, name), content, { flush: true });
    files[name] = identify(content);
  }
  return files;
}

/** A file of the manifest, by its content. */
export function identify(content: Uint8Array): Files[string] {
  return { sha256: createHash('sha256').update(content).digest('hex'), bytes: content.length };
}

/**
 * A broken tokenizer is found before the weights are built, not by whoever runs the model.
 *
 * @throws BuildError `checkpoint_invalid`, with what is wrong with it
 */
export async function checkTokenizer(dir: string): Promise<void> {
  const content = await readIfPresent(join(dir, 'tokenizer.json'));
  if (content === undefined) return;
  const config = await readIfPresent(join(dir, 'tokenizer_config.json'));
  try {
    new Tokenizer({
      tokenizer: JSON.parse(content.toString('utf8')) as Record<string, unknown>,
      config: config === undefined ? {} : (JSON.parse(config.toString('utf8')) as Record<string, unknown>),
    });
  } catch (cause) {
    const line = `the tokenizer's files cannot be used: ${messageOf(cause)}`;
    throw new BuildError('checkpoint_invalid', line, { cause });
  }
}

/**
 * The tokens that end an answer. `generation_config.json` has the last word; base models name theirs
 * in `config.json` only. None is possible: the answer then ends at its length.
 *
 * @throws BuildError `checkpoint_invalid`
 */
export async function readEosTokenIds(dir: string): Promise<number[]> {
  for (const name of ['generation_config.json', 'config.json']) {
    const content = await readIfPresent(join(dir, name));
    if (content === undefined) continue;
    const ids = eosTokenIds(parseJson(content));
    if (ids === null) {
      throw new BuildError(
        'checkpoint_invalid',
        `${name}: eos_token_id is neither a token id nor a list of them`,
      );
    }
    if (ids.length > 0) return ids;
  }
  return [];
}

function parseJson(content: Buffer): unknown {
  try {
    return JSON.parse(content.toString('utf8'));
  } catch {
    return undefined;
  }
}

async function readIfPresent(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
