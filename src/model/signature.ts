import { type KeyObject, sign, verify } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Trust } from '../ipc/messages.ts';
import { publicKeysOf } from '../lib/ed25519.ts';
import { SlmdError } from '../lib/errors.ts';
import { manifestFile } from './manifest.ts';

/**
 * Beside the manifest: the Ed25519 signature over the manifest's bytes as they are, in base64, one line.
 *
 * The manifest names every other file by its hash, so that one signature covers the whole model, and
 * `openssl pkeyutl -rawin` can make and check it without slmd.
 */
export const signatureFile = `${manifestFile}.sig`;

export type SignatureState = 'unsigned' | 'signed' | 'untrusted';

/**
 * Checks a manifest's signature, if trust is asked for.
 *
 * @throws {SlmdError} `model_untrusted` where a signature is missing that must be there, or is of no trusted key
 */
export async function checkSignature(
  dir: string,
  manifest: Uint8Array,
  trust: Trust | null,
): Promise<SignatureState> {
  const signature = await readSignature(dir);
  if (signature === null) {
    if (trust?.required) throw untrusted(dir, 'it is not signed and model.public_key_file asks for it');
    return 'unsigned';
  }
  if (trust === null) return 'untrusted';
  if (publicKeysOf(trust.public_keys).some((key) => verify(null, manifest, key, signature))) return 'signed';
  throw untrusted(dir, `${signatureFile} is no signature of this ${manifestFile} by a trusted key`);
}

/** The text of a signature file. */
export function signatureOf(manifest: Uint8Array, privateKey: KeyObject): string {
  return `${sign(null, manifest, privateKey).toString('base64')}\n`;
}

/** What is no base64 of the right length is a signature too: a wrong one. */
async function readSignature(dir: string): Promise<Buffer | null> {
  try {
    return Buffer.from(await readFile(join(dir, signatureFile), 'utf8'), 'base64');
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw untrusted(dir, `${signatureFile} cannot be read`);
  }
}

function untrusted(dir: string, reason: string): SlmdError<'model_untrusted'> {
  return new SlmdError('model_untrusted', `the model in ${dir} is refused: ${reason}`);
}
