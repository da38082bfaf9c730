import { parseArgs } from 'node:util';
import { readPrivateKey, signModel, writeKeyPair } from '../supply/sign.ts';
import { coded } from './coded.ts';
import { CommandError, exitCodes } from './exit-codes.ts';
import { modelContext, onlyOne, storeOptions, storeUsage } from './model-context.ts';

export const signUsage = `slmd model sign <model> --key <private.pem>

Checks a model's files and signs its manifest: slmd-model.json.sig is the Ed25519 signature, in base64.

  --key <file>     the private key, from slmd model keygen or openssl genpkey -algorithm ed25519
${storeUsage}`;

export const keygenUsage = `slmd model keygen <name>

Makes <name>.private.pem, which signs and stays with you, and <name>.public.pem, for model.public_key_file.`;

export async function modelSign(args: string[]): Promise<void> {
  const options = { ...storeOptions, key: { type: 'string' } } as const;
  const { values, positionals } = parseArgs({ args, allowPositionals: true, options });
  const model = onlyOne(positionals, 'model', signUsage);
  if (values.key === undefined) throw new CommandError(exitCodes.usage, `--key is needed\n\n${signUsage}`);
  try {
    const key = readPrivateKey(values.key);
    const { store, config } = modelContext(values);
    console.log(`signed: ${await signModel(store.find(model), key, config.model.variant)}`);
  } catch (error) {
    coded(error);
  }
}

export async function modelKeygen(args: string[]): Promise<void> {
  const { positionals } = parseArgs({ args, allowPositionals: true, options: {} });
  const name = onlyOne(positionals, 'name', keygenUsage);
  try {
    writeKeyPair(`${name}.private.pem`, `${name}.public.pem`);
  } catch (error) {
    coded(error);
  }
  console.log(
    `${name}.private.pem signs: keep it off the device\n${name}.public.pem is for model.public_key_file`,
  );
}
