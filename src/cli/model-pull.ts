import { parseArgs } from 'node:util';
import type { Config } from '../config/schema.ts';
import { megabytes } from '../lib/megabytes.ts';
import { version } from '../lib/version.ts';
import type { Layout } from '../model/layout.ts';
import { inspectModel } from '../supply/inspect.ts';
import { type Pulled, pull } from '../supply/pull.ts';
import { parseRepo } from '../supply/repo.ts';
import type { ModelStore } from '../supply/store.ts';
import { boardAdvice } from './board-advice.ts';
import { coded } from './coded.ts';
import { CommandError, exitCodes } from './exit-codes.ts';
import { modelContext, onlyOne, storeOptions, storeUsage } from './model-context.ts';
import { nextStep } from './next-step.ts';
import { Progress } from './progress.ts';

export const pullUsage = `slmd model pull <owner/name or URL> [options]

Downloads a model to the store, each file checked by its hash. Run again, it goes on where it stopped.
Of several forms it takes the first there is: a model of slmd, safetensors, a graph for a small CPU.
For another board than this one, SLMD_PROFILE names it.

  --revision <rev>   a branch, a tag or a commit (default: main)
  --layout <layout>  safetensors, onnx or genai, where there are several
  --variant <name>   the graph's quantisation (q4, int8, …), or part of a directory's name (genai); by default
                     of the kind that model.variant says, which the device profile sets
  --name <name>      its name in the store (default: the repository's)
  --mirror <url>     another server with the hub's addresses (default: model.mirror)
  --json             prints what was pulled as JSON
${storeUsage}

HF_TOKEN is sent to the mirror, over https, and to nobody else.
Exit code: 0 complete, 1 failed, 5 the server was too slow, 130 interrupted.`;

const layouts = ['slmd', 'safetensors', 'onnx', 'genai'] as const satisfies Layout[];

export async function modelPull(args: string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      ...storeOptions,
      revision: { type: 'string' },
      layout: { type: 'string' },
      variant: { type: 'string' },
      name: { type: 'string' },
      mirror: { type: 'string' },
      json: { type: 'boolean', default: false },
    },
  });
  const wanted = onlyOne(positionals, 'repository', pullUsage);
  const layout = layouts.find((name) => name === values.layout);
  if (layout !== values.layout)
    throw new CommandError(exitCodes.usage, `--layout is ${values.layout}; it can be ${layouts.join(', ')}`);
  const mirror = values.mirror === undefined ? undefined : mirrorOf(values.mirror);
  const { config, store } = modelContext(values);
  const progress = new Progress('pulling');
  const interrupted = new AbortController();
  const line = 'interrupted; the same command goes on from here';
  process.once('SIGINT', () => interrupted.abort(new CommandError(exitCodes.interrupted, line)));
  try {
    const repo = parseRepo(wanted, mirror ?? config.model.mirror, values.revision);
    const pulled = await pull(repo, store, {
      layout,
      variant: values.variant,
      kind: config.model.variant,
      name: values.name,
      token: process.env.HF_TOKEN || null,
      user_agent: `slmd/${version()}`,
      signal: interrupted.signal,
      onSelected: (name, { files }) => console.error(`${repo.name} → ${name}: ${files.length} files`),
      onProgress: (done, total) => progress.report(done, total),
    });
    progress.end();
    console.log(values.json ? JSON.stringify(pulled, null, 2) : await describe(pulled, store, config));
  } catch (error) {
    progress.end();
    coded(error);
  }
}

function mirrorOf(url: string): string {
  if (/^https?:\/\//.test(url) && URL.canParse(url)) return url;
  throw new CommandError(exitCodes.usage, `--mirror is ${url}; it must be an http:// or https:// URL`);
}

async function describe(
  { name, dir, bytes, unvouched, already }: Pulled,
  store: ModelStore,
  config: Config,
): Promise<string> {
  const state = already ? 'was already there' : 'is complete';
  const lines = [`${name} ${state}: ${megabytes(bytes, 1)} in ${dir}`];
  if (unvouched.length > 0) lines.push(`the mirror gave no hash for ${unvouched.join(', ')}`);
  // Whom it must be signed by is asked when it is activated.
  const inspection = await inspectModel(dir, null, config.model.variant);
  const advice = inspection.size && boardAdvice(inspection.size, config);
  if (advice !== null) lines.push(advice);
  return [...lines, `next: ${nextStep(inspection, store, config)}`].join('\n');
}
