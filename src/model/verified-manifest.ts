import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join, normalize } from 'node:path';
import type { Trust } from '../ipc/messages.ts';
import { messageOf, SlmdError } from '../lib/errors.ts';
import { hashFile } from './hash-file.ts';
import { type Manifest, manifestFile, manifestSchema } from './manifest.ts';
import { checkSignature, type SignatureState } from './signature.ts';

/**
 * - `model_missing`: a file is not there.
 * - `model_invalid`: it is, and is not what it should be.
 * - `model_unsupported`: it is a model, and of a kind that slmd does not run.
 * - `model_untrusted`: a signature is asked for, and is missing or of no trusted key.
 */
export type ModelErrorCode = 'model_missing' | 'model_invalid' | 'model_unsupported' | 'model_untrusted';

export interface ReadManifest {
  manifest: Manifest;
  /** SHA-256 of the manifest file, lower-case hex. */
  sha256: string;
  /** `untrusted`: it is signed, and no key says by whom. */
  signature: SignatureState;
}

/**
 * Reads a manifest. The bytes whose signature is checked are the ones that are parsed.
 *
 * @throws {SlmdError<ModelErrorCode>} naming the file
 */
export async function readManifest(dir: string, trust: Trust | null): Promise<ReadManifest> {
  const path = join(dir, manifestFile);
  const bytes = await readFile(path).catch((thrown: unknown) => {
    throw unreadable(path, thrown);
  });
  const signature = await checkSignature(dir, bytes, trust);
  return {
    manifest: parseManifest(bytes.toString('utf8'), path),
    sha256: createHash('sha256').update(bytes).digest('hex'),
    signature,
  };
}

/**
 * Checks every file of a model against its manifest.
 *
 * @param onBytes told how many bytes were hashed
 * @throws {SlmdError<ModelErrorCode>} naming the file
 */
export async function checkFiles(
  dir: string,
  { files }: Manifest,
  onBytes: (bytes: number) => void = () => undefined,
): Promise<void> {
  // Sizes of all files before the hash of any: a copy that broke off is found at once.
  for (const [name, { bytes }] of Object.entries(files)) await checkSize(join(dir, name), bytes);
  for (const [name, { sha256 }] of Object.entries(files)) await checkHash(join(dir, name), sha256, onBytes);
}

export function unreadable(path: string, thrown: unknown): SlmdError<ModelErrorCode> {
  return new SlmdError('model_missing', unreadableLine(path, thrown), { cause: thrown });
}

function unreadableLine(path: string, thrown: unknown): string {
  const { code } = thrown as NodeJS.ErrnoException;
  if (code !== 'ENOENT' && code !== 'ENOTDIR') return `cannot read ${path}: ${messageOf(thrown)}`;
  if (basename(path) !== manifestFile)
    return `there is no ${path}, which the model needs: pull or build it again`;
  const dir = dirname(path);
  if (!existsSync(dir)) return `there is no directory ${dir}`;
  return `there is no model in ${dir}, which has no ${manifestFile}: slmd model inspect ${dir} says what it is`;
}

export function invalid(path: string, reason: string): SlmdError<ModelErrorCode> {
  return new SlmdError('model_invalid', `${path} cannot be used: ${reason}`);
}

export function parseJson(text: string, path: string): Record<string, unknown> {
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

function parseManifest(text: string, path: string): Manifest {
  const parsed = manifestSchema.safeParse(parseJson(text, path));
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw invalid(path, `${issue?.path.join('.')}: ${issue?.message}`);
  }
  const { format, layout, graph, files } = parsed.data;
  if ((format === 2) !== (layout !== undefined && graph !== undefined))
    throw invalid(path, 'layout and graph: they belong to format 2, and it to them');
  const names = Object.keys(files);
  for (const name of names) {
    if (format === 1 ? basename(name) !== name : !isInside(name))
      throw invalid(path, `it names a file outside the directory: ${name}`);
  }
  for (const name of requiredFiles(parsed.data)) {
    if (!names.includes(name)) throw invalid(path, `it does not name ${name}`);
  }
  return parsed.data;
}

function isInside(path: string): boolean {
  return normalize(path) === path && !isAbsolute(path) && !path.startsWith('..');
}

function requiredFiles(manifest: Manifest): string[] {
  const { graph } = manifest;
  if (graph === undefined) return ['model.onnx', 'model.onnx.data', 'tokenizer.json'];
  return [graph, join(rootOf(manifest), 'tokenizer.json')];
}

/** Where in the directory a model has its tokenizer, and what else is beside the graph. */
export function rootOf({ layout, graph }: Pick<Manifest, 'layout' | 'graph'>): string {
  return layout === 'genai' ? dirname(graph ?? '') : '.';
}

async function checkSize(path: string, bytes: number): Promise<void> {
  const { size } = await stat(path).catch((thrown: unknown) => {
    throw unreadable(path, thrown);
  });
  if (size !== bytes) throw invalid(path, `it has ${size} bytes and the manifest says ${bytes}`);
}

async function checkHash(path: string, sha256: string, onBytes: (bytes: number) => void): Promise<void> {
  const is = await hashFile(path, onBytes).catch((thrown: unknown) => {
    throw unreadable(path, thrown);
  });
  if (is !== sha256) throw invalid(path, 'its SHA-256 is not the one in the manifest');
}
