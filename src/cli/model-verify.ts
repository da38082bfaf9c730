import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import type { Trust } from '../ipc/messages.ts';
import { publicKeysOf } from '../lib/ed25519.ts';
import { messageOf } from '../lib/errors.ts';
import { type Verified, verifyModel } from '../supply/verify.ts';
import { coded } from './coded.ts';
import { CommandError, exitCodes } from './exit-codes.ts';
import { modelContext, onlyOne, storeOptions, storeUsage } from './model-context.ts';
import { megabytes } from './model-inspect.ts';
import { Progress } from './progress.ts';

export const verifyUsage = `slmd model verify <model> [--key <public.pem>] [--json]

Reads every file of a model and compares its SHA-256 with the manifest's, and the manifest's signature
with a key; what was pulled and is not built yet is compared with what was pulled.

  --key <file>     whose signature it must have (default: model.public_key_file)
  --json           prints the finding as JSON
${storeUsage}`;

export async function modelVerify(args: string[]): Promise<void> {
  const options = {
    ...storeOptions,
    key: { type: 'string' },
    json: { type: 'boolean', default: false },
  } as const;
  const { values, positionals } = parseArgs({ args, allowPositionals: true, options });
  const model = onlyOne(positionals, 'model', verifyUsage);
  const { store, config } = modelContext(values);
  const trust = values.key === undefined ? config.model.trust : trustIn(values.key);
  const progress = new Progress('checking');
  try {
    const verified = await verifyModel(store.find(model), trust, (done, total) =>
      progress.report(done, total),
    );
    progress.end();
    console.log(values.json ? JSON.stringify(verified, null, 2) : lineOf(verified));
  } catch (error) {
    progress.end();
    coded(error);
  }
}

function lineOf({ dir, by, files, bytes, signature }: Verified): string {
  const what = by === 'manifest' ? 'as in its manifest' : 'as they were pulled';
  const signed = { signed: ', signed by a trusted key', unsigned: ', not signed', untrusted: ', signed' };
  return `${dir}: ${files} files (${megabytes(bytes)}) are ${what}${signature === null ? '' : signed[signature]}`;
}

function trustIn(file: string): Trust {
  try {
    const public_keys = readFileSync(file, 'utf8');
    publicKeysOf(public_keys);
    return { public_keys, required: true };
  } catch (error) {
    throw new CommandError(exitCodes.failed, `key_invalid: ${file}: ${messageOf(error)}`);
  }
}
