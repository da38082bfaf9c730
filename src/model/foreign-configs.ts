/** The configurations that layouts of others have beside their graphs. */

import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { messageOf, SlmdError } from '../lib/errors.ts';
import { eosTokenIds } from './eos-tokens.ts';
import { type GenaiModel, readGenaiConfig } from './genai-config.ts';
import { invalid, parseJson, unreadable } from './verified-manifest.ts';

export const genaiConfigFile = 'genai_config.json';

/** The part of a configuration that a graph does not say of itself. */
export interface Sizes {
  vocabulary_size: number | undefined;
  heads: number | undefined;
  hidden_size: number | undefined;
}

export async function readGenai(dir: string, path: string): Promise<GenaiModel> {
  const full = join(dir, path);
  let genai: GenaiModel | string;
  const json = await readJson(full);
  try {
    genai = readGenaiConfig(json);
  } catch (thrown) {
    throw invalid(full, messageOf(thrown));
  }
  if (typeof genai === 'string')
    throw new SlmdError('model_unsupported', `slmd cannot run ${full}: ${genai}`);
  if (basename(genai.filename) !== genai.filename)
    throw invalid(full, `its graph is elsewhere: ${genai.filename}`);
  return genai;
}

export interface OnnxConfig extends Sizes {
  architecture: string;
  context_length: number | undefined;
}

export async function readConfig(dir: string, name: string): Promise<OnnxConfig> {
  const config = await readJson(join(dir, name));
  // Models of several senses keep the part that speaks in a section of its own.
  const text = { ...config, ...(config.text_config as object | undefined) } as Record<string, unknown>;
  const count = (...keys: string[]) => {
    const value = keys
      .map((key) => text[key])
      .find((found) => Number.isSafeInteger(found) && (found as number) > 0);
    return value as number | undefined;
  };
  const [architecture] = Array.isArray(config.architectures) ? (config.architectures as unknown[]) : [];
  return {
    architecture: typeof architecture === 'string' ? architecture : String(config.model_type ?? 'unknown'),
    context_length: count('max_position_embeddings', 'n_positions', 'n_ctx'),
    vocabulary_size: count('vocab_size'),
    heads: count('num_attention_heads', 'n_head'),
    hidden_size: count('hidden_size', 'n_embd'),
  };
}

/** `generation_config.json` has the last word; base models name theirs in `config.json` only. */
export async function eosOf(dir: string, names: readonly string[]): Promise<number[]> {
  for (const name of ['generation_config.json', 'config.json'].filter((file) => names.includes(file))) {
    const ids = eosTokenIds(await readJson(join(dir, name)));
    if (ids === null) throw invalid(join(dir, name), 'eos_token_id is neither a token id nor a list of them');
    if (ids.length > 0) return ids;
  }
  return [];
}

async function readJson(path: string): Promise<Record<string, unknown>> {
  const text = await readFile(path, 'utf8').catch((thrown: unknown) => {
    throw unreadable(path, thrown);
  });
  return parseJson(text, path);
}
