import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { VariantKind } from '../ipc/messages.ts';
import { manifestFile } from '../model/manifest.ts';
import { signatureFile, signatureOf } from '../model/signature.ts';
import { SupplyError } from './errors.ts';
import { takeOver } from './take-over.ts';
import { verifyModel } from './verify.ts';

/**
 * Signs a model directory. Before that, one that others laid out gets a manifest, and every file is compared with
 * the manifest: a signature says that somebody stands for what is there.
 *
 * @param kind of several graphs of others, that which keeps its weights so
 * @returns where the signature is
 * @throws {SlmdError}
 */
export async function signModel(dir: string, privateKey: KeyObject, kind?: VariantKind): Promise<string> {
  await takeOver(dir, { kind });
  await verifyModel(dir, null);
  const path = join(dir, signatureFile);
  await writeFile(`${path}.new`, signatureOf(readFileSync(join(dir, manifestFile)), privateKey), {
    flush: true,
  });
  await rename(`${path}.new`, path);
  return path;
}

/** @throws SupplyError `key_invalid` */
export function readPrivateKey(path: string): KeyObject {
  let key: KeyObject;
  try {
    key = createPrivateKey(readFileSync(path));
  } catch (cause) {
    throw new SupplyError('key_invalid', `${path} holds no private key without a password (PEM)`, { cause });
  }
  if (key.asymmetricKeyType === 'ed25519') return key;
  throw new SupplyError('key_invalid', `${path} is a key for ${key.asymmetricKeyType}; Ed25519 is needed`);
}

/** Writes a new key pair; files that are there are never replaced. */
export function writeKeyPair(privatePath: string, publicPath: string): void {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  writeNew(privatePath, privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(), 0o600);
  writeNew(publicPath, publicKey.export({ type: 'spki', format: 'pem' }).toString(), 0o644);
}

function writeNew(path: string, text: string, mode: number): void {
  try {
    const fd = openSync(path, 'wx', mode);
    writeSync(fd, text);
    closeSync(fd);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw cause;
    throw new SupplyError('key_invalid', `${path} is already there, and is not replaced`, { cause });
  }
}
