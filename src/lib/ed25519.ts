import { createPublicKey, type KeyObject } from 'node:crypto';

const pemBlock = /-----BEGIN PUBLIC KEY-----[A-Za-z0-9+/=\s]+-----END PUBLIC KEY-----/g;

/**
 * The Ed25519 public keys of a PEM text: one, or several while an old key is being replaced.
 *
 * @throws Error where there is none, or one that is of another kind
 */
export function publicKeysOf(pem: string): KeyObject[] {
  const keys = (pem.match(pemBlock) ?? []).map((block) => createPublicKey(block));
  if (keys.length === 0) throw new Error('holds no public key (PEM, "BEGIN PUBLIC KEY")');
  if (keys.some((key) => key.asymmetricKeyType !== 'ed25519'))
    throw new Error('holds a key that is not Ed25519');
  return keys;
}
