import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import type { Trust } from '../ipc/messages.ts';
import { publicKeysOf } from '../lib/ed25519.ts';
import { messageOf } from '../lib/errors.ts';
import { megabytes } from '../lib/megabytes.ts';
import type { Comparison } from '../oracle/compare.ts';
import { isVouchedFor, type Verified, verifyModel } from '../supply/verify.ts';
import { coded } from './coded.ts';
import { CommandError, exitCodes } from './exit-codes.ts';
import { verifyAgainst } from './model-compare.ts';
import { modelContext, onlyOne, storeOptions, storeUsage } from './model-context.ts';
import { numberOption } from './number-option.ts';
import { Steps } from './progress.ts';

export const verifyUsage = `slmd model verify <model> [--key <public.pem>] [--against <dir>] [--json]

Reads every file of a model and compares its SHA-256 with the manifest's, and the manifest's signature
with a key; what was pulled and is not built yet is compared with what was pulled.

With --against it also compares what a quantized model says with a more exact build of the same checkpoint:
how often both choose the same token, how far their distributions are apart (KL divergence), and how well
both predict a fixed text (perplexity). The verdict goes into the manifest, and into a device's info. Either may be
in the layout of transformers.js or onnxruntime-genai: of several graphs the one for this board is compared, or the
one that was taken over, and as a reference the most exact one; so a directory can be compared with itself.

  --key <file>     whose signature it must have (default: model.public_key_file)
  --against <dir>  the checkpoint, of which a float32 build is made for the comparison, or a model of any layout
  --no-record      leaves the manifest as it is
  --threads <n>    to compare with (default: the engine chooses)
  --json           prints the finding as JSON
${storeUsage}`;

export async function modelVerify(args: string[]): Promise<void> {
  const options = {
    ...storeOptions,
    key: { type: 'string' },
    against: { type: 'string' },
    'no-record': { type: 'boolean', default: false },
    threads: { type: 'string', default: '0' },
    json: { type: 'boolean', default: false },
  } as const;
  const { values, positionals } = parseArgs({ args, allowPositionals: true, options });
  const model = onlyOne(positionals, 'model', verifyUsage);
  const threads = numberOption('threads', values.threads);
  const { store, config } = modelContext(values);
  const trust = values.key === undefined ? config.model.trust : trustIn(values.key);
  const steps = new Steps();
  try {
    const dir = store.find(model);
    const { against } = values;
    const verified =
      against === undefined || (await isVouchedFor(dir))
        ? await verifyModel(dir, trust, (done, total) => steps.report('checking', done, total))
        : null;
    const comparison =
      against === undefined
        ? null
        : await verifyAgainst(dir, against, {
            threads,
            kind: config.model.variant,
            record: !values['no-record'],
            onStep: (label, done, total) => steps.report(label, done, total),
          });
    steps.end();
    if (values.json) console.log(JSON.stringify({ ...verified, comparison }, null, 2));
    else
      for (const line of [
        verified === null ? `${dir}:` : lineOf(verified),
        ...(comparison === null ? [] : linesOf(comparison)),
      ])
        console.log(line);
  } catch (error) {
    steps.end();
    coded(error);
  }
}

function linesOf({ verdict, answers, prose, perplexity_ratio }: Comparison): string[] {
  const percent = (share: number) => `${(100 * share).toFixed(2)} %`;
  return [
    `  answers    ${answers.positions} tokens: ${percent(answers.greedy_agreement)} the same, KL divergence ${answers.kl_divergence.toFixed(4)}`,
    perplexity_ratio === null
      ? '  prose      not in the language of this model'
      : `  prose      ${prose.positions} tokens: perplexity ${prose.perplexity.toFixed(3)}, reference ${prose.perplexity_reference.toFixed(3)} (× ${perplexity_ratio.toFixed(3)})`,
    `  verdict    ${verdict}`,
  ];
}

function lineOf({ dir, by, files, bytes, signature }: Verified): string {
  const what = by === 'manifest' ? 'as in its manifest' : 'as they were pulled';
  const signed = { signed: ', signed by a trusted key', unsigned: ', not signed', untrusted: ', signed' };
  return `${dir}: ${files} files (${megabytes(bytes, 1)}) are ${what}${signature === null ? '' : signed[signature]}`;
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
