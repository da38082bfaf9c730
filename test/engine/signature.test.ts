import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { appendFileSync, cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { Trust } from '../../src/ipc/messages.ts';
import { readModelDirectory } from '../../src/model/directory.ts';
import { manifestFile } from '../../src/model/manifest.ts';
import { signatureFile, signatureOf } from '../../src/model/signature.ts';
import { engineOptions, ForkedEngine } from '../support/forked-engine.ts';
import { tinyModelDir } from '../support/tiny-model.ts';

const good = await tinyModelDir();
const owner = generateKeyPairSync('ed25519');
const stranger = generateKeyPairSync('ed25519');
const copies: string[] = [];
after(() => {
  for (const dir of copies) rmSync(dir, { recursive: true });
});

function pem(...keys: KeyObject[]): string {
  return keys.map((key) => key.export({ type: 'spki', format: 'pem' })).join('');
}

/** A copy of a good model, signed by this key if there is one. */
function model(key?: KeyObject): string {
  const dir = mkdtempSync(join(tmpdir(), 'slmd-signed-'));
  copies.push(dir);
  cpSync(good, dir, { recursive: true });
  if (key !== undefined)
    writeFileSync(join(dir, signatureFile), signatureOf(readFileSync(join(dir, manifestFile)), key));
  return dir;
}

const trust: Trust = { public_keys: pem(owner.publicKey), required: true };
const untrusted = { code: 'model_untrusted' };

test('a model that the owner of the key signed is read, and one that nobody or another signed is not', async () => {
  await readModelDirectory(model(owner.privateKey), trust);
  await assert.rejects(readModelDirectory(model(), trust), untrusted);
  await assert.rejects(readModelDirectory(model(stranger.privateKey), trust), untrusted);
});

test('where a signature is not required, none will do and a wrong one will not', async () => {
  const lenient = { ...trust, required: false };
  await readModelDirectory(model(), lenient);
  await assert.rejects(readModelDirectory(model(stranger.privateKey), lenient), untrusted);
});

test('any of several keys will do, so that one can take the place of another', async () => {
  const both = { ...trust, public_keys: pem(stranger.publicKey, owner.publicKey) };
  await readModelDirectory(model(owner.privateKey), both);
  await readModelDirectory(model(stranger.privateKey), both);
});

test('a signed model is refused when a byte of its manifest, its signature or a file is another', async () => {
  const manifest = model(owner.privateKey);
  appendFileSync(join(manifest, manifestFile), ' ');
  await assert.rejects(readModelDirectory(manifest, trust), untrusted);
  for (const text of ['', 'no base64 at all', `${'A'.repeat(86)}==\n`]) {
    const signature = model(owner.privateKey);
    writeFileSync(join(signature, signatureFile), text);
    await assert.rejects(readModelDirectory(signature, trust), untrusted, text);
  }
  const tokenizer = model(owner.privateKey);
  appendFileSync(join(tokenizer, 'tokenizer.json'), ' ');
  await assert.rejects(readModelDirectory(tokenizer, trust), { code: 'model_invalid' });
});

test('an engine that is told whom to trust refuses to load anything else', async (t) => {
  for (const [dir, answer] of [
    [model(owner.privateKey), 'ready'],
    [model(), 'load_failed'],
  ] as const) {
    const engine = new ForkedEngine();
    t.after(() => engine.stop());
    engine.send({ type: 'load', model_dir: dir, options: engineOptions, trust });
    const message = await engine.first(({ type }) => type === 'ready' || type === 'load_failed');
    assert.equal(message.type, answer);
    if (message.type === 'load_failed') assert.equal(message.code, 'model_untrusted');
  }
});

test('openssl makes a signature that is accepted, and accepts one that was made here', async (t) => {
  const dir = model(owner.privateKey);
  const at = (name: string) => join(dir, name);
  writeFileSync(at('public.pem'), pem(owner.publicKey));
  writeFileSync(at('private.pem'), owner.privateKey.export({ type: 'pkcs8', format: 'pem' }));
  writeFileSync(at('raw'), Buffer.from(readFileSync(at(signatureFile), 'utf8'), 'base64'));
  const openssl = (...args: string[]) =>
    spawnSync('openssl', ['pkeyutl', '-rawin', '-in', at(manifestFile), ...args]);
  if (openssl().error !== undefined) return t.skip('openssl is not installed');
  assert.equal(openssl('-verify', '-pubin', '-inkey', at('public.pem'), '-sigfile', at('raw')).status, 0);
  const made = openssl('-sign', '-inkey', at('private.pem')).stdout;
  writeFileSync(at(signatureFile), made.toString('base64'));
  await readModelDirectory(dir, trust);
});
