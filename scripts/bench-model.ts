/**
 * `npm run bench:model -- <shape> [block size] [threads]`: a whole model of a shape of `bench/shapes.ts`.
 *
 * Writes a checkpoint with random weights, builds it in int4, loads it in the engine and lets it answer, each
 * in a process of its own, and prints time, speed, resident and peak memory (VmRSS, VmHWM). It says nothing of language:
 * random weights have none. Needs disk for the checkpoint and the model: 9 GB for `llama-3b`. What several prompts at
 * a time gain is measured by `npm run bench -- --self`.
 */

import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BuildOptions, buildModel } from '../src/builder/build-model.ts';
import { Progress } from '../src/cli/progress.ts';
import { openEngine } from '../src/engine/engine.ts';
import { greedy, question } from '../src/ipc/question.ts';
import { shippedModel } from '../src/lib/package-root.ts';
import { procBytes } from '../src/lib/proc-bytes.ts';
import { writeRandomCheckpoint } from './bench/random-checkpoint.ts';
import { shapes } from './bench/shapes.ts';

const promptTokens = 256;
const answerTokens = 128;

const [task, ...args] = process.argv.slice(2);
if (task === '--write') await write(args[0]!, args[1]!);
else if (task === '--build') await build(args[0]!, args[1]!, Number(args[2]));
else if (task === '--answer') await answer(args[0]!, Number(args[1]));
else bench(task ?? '', args[0] ?? '32', args[1] ?? '1');

function bench(shape: string, blockSize: string, threads: string): void {
  if (!Object.hasOwn(shapes, shape)) {
    console.error(`shapes: ${Object.keys(shapes).join(', ')}`);
    process.exit(2);
  }
  const work = mkdtempSync(join(tmpdir(), 'slmd-bench-'));
  const [checkpoint, model] = [join(work, 'checkpoint'), join(work, 'model')];
  try {
    child('--write', shape, checkpoint);
    child('--build', checkpoint, model, blockSize);
    rmSync(checkpoint, { recursive: true });
    child('--answer', model, threads);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function child(...args: string[]): void {
  const { status } = spawnSync(process.execPath, [import.meta.filename, ...args], { stdio: 'inherit' });
  if (status !== 0) throw new Error(`${args[0]} failed`);
}

async function write(shape: string, dir: string): Promise<void> {
  await writeRandomCheckpoint(dir, shapes[shape]!);
  // Any tokenizer will do, as long as its ids are in the vocabulary.
  for (const name of ['tokenizer.json', 'tokenizer_config.json']) {
    copyFileSync(join(shippedModel(), name), join(dir, name));
  }
}

async function build(checkpoint: string, model: string, blockSize: number): Promise<void> {
  const progress = new Progress('building');
  const started = performance.now();
  const { parameters, files } = await buildModel(checkpoint, model, {
    ...({ blockSize } as BuildOptions),
    id: 'bench',
    onProgress: ({ bytesDone, bytesTotal }) => progress.report(bytesDone, bytesTotal),
  });
  progress.end();
  const bytes = files['model.onnx.data']!.bytes;
  console.log(
    `parameters  ${(parameters / 1e6).toFixed(1)} M, int4 b${blockSize}, ${(bytes / 1e6).toFixed(0)} MB`,
  );
  console.log(`build       ${((performance.now() - started) / 1000).toFixed(1)} s, ${peak()}`);
}

async function answer(model: string, threads: number): Promise<void> {
  const atStart = process.cpuUsage();
  const engine = await openEngine(model, {
    backend: 'auto',
    threads,
    rows: 1,
    speculation: true,
    prefill_chunk_tokens: 64,
    context_length_max: 512,
    max_tokens_default: null,
    prefixes: null,
  });
  const { info } = engine;
  const cpuSeconds = cpuMsSince(atStart) / 1000;
  console.log(
    `load        ${(info.load_ms / 1000).toFixed(2)} s (${cpuSeconds.toFixed(2)} s of processor time), ${peak()}`,
  );
  // The byte of a space is one token of the shipped tokenizer, and words of one letter are two.
  const content = 'x '.repeat(promptTokens / 2);
  const sampling = { ...greedy, temperature: 1, seed: 1 };
  const request = { ...question(content, answerTokens), sampling };
  let afterPrefill = process.cpuUsage();
  const onTokens = (_: string, count: number) => {
    if (count === 1) afterPrefill = process.cpuUsage();
  };
  const { usage, stamps } = await engine.generate(request, { onTokens });
  const cpuMs = cpuMsSince(afterPrefill) / (usage.completion_tokens - 1);
  const decodeMs = (stamps.last_token_at - stamps.first_token_at) / (usage.completion_tokens - 1);
  const prefillMs = stamps.first_token_at - stamps.tokenized_at;
  console.log(
    `prefill     ${((usage.prompt_tokens / prefillMs) * 1000).toFixed(0)} tokens/s over ${usage.prompt_tokens}`,
  );
  console.log(
    `decode      ${(1000 / decodeMs).toFixed(1)} tokens/s over ${usage.completion_tokens}, ${info.engine.threads} thread(s)`,
  );
  // On a machine that does other things as well, this is what does not depend on them.
  console.log(`decode      ${cpuMs.toFixed(1)} ms of processor time a token`);
  console.log(`engine      resident ${mebibytes('VmRSS')} MiB, ${peak()}`);
  await engine.close();
}

function cpuMsSince(start: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(start);
  return (user + system) / 1000;
}

/** Of this process, so far. */
function peak(): string {
  return `peak memory ${mebibytes('VmHWM')} MiB`;
}

function mebibytes(field: 'VmHWM' | 'VmRSS'): string {
  const status = readFileSync('/proc/self/status', 'utf8');
  return ((procBytes(status, field) ?? Number.NaN) / 2 ** 20).toFixed(0);
}
