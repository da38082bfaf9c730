import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { FromEngine } from '../../src/ipc/messages.ts';
import { engineBytes } from '../../src/model/memory-need.ts';
import { nodeArguments } from '../../src/supervisor/engine-process.ts';
import { buildAll } from '../build.ts';
import type { BenchModels, LayoutName } from './models/build.ts';
import { modelSize } from './self.ts';
import { table } from './table.ts';

/** What an engine has in memory when a prompt has filled its context, and what was foretold. */
export interface MemoryResult {
  shape: string;
  layout: LayoutName;
  context: number;
  measured_bytes: number;
  foretold_bytes: number;
}

const contexts = [256, 1024, 2048, 4096];
const chunkTokens = 128;
const answerTokens = 16;
const lookMs = 3;
const dist = join(import.meta.dirname, '..', '..', 'dist');

export async function measureMemory(shape: string, models: BenchModels['slmd']): Promise<MemoryResult[]> {
  await buildAll(dist);
  const results: MemoryResult[] = [];
  for (const layout of ['block 32', 'int8 KV'] as const)
    for (const context of contexts) {
      const model = models[layout];
      const foretold_bytes = engineBytes(modelSize(model), { contextTokens: context, chunkTokens });
      results.push({ shape, layout, context, measured_bytes: await measure(model, context), foretold_bytes });
    }
  return results;
}

/** The most of its own that the engine ever had, and the pages of files that it has at the end. */
async function measure(model: string, context: number): Promise<number> {
  const engine = fork(join(dist, 'engine.js'), [], {
    serialization: 'advanced',
    env: { PATH: process.env.PATH, ORT_DISABLE_TELEMETRY: '1', MALLOC_ARENA_MAX: '1' },
    execArgv: nodeArguments,
  });
  let own = 0;
  const look = setInterval(() => {
    own = Math.max(own, bytesOf(engine, 'RssAnon'));
  }, lookMs);
  try {
    const options = {
      backend: 'native',
      threads: 1,
      rows: 1,
      speculation: true,
      prefill_chunk_tokens: chunkTokens,
      context_length_max: context,
      max_tokens_default: null,
      prefixes: null,
    };
    engine.send({ type: 'load', model_dir: model, options });
    await answerOf(engine, 'ready');
    // A letter and its space are one token of the shipped tokenizer, and the chat template adds a few.
    const content = 'a '.repeat(context - answerTokens - 16);
    const sampling = { temperature: 0, top_k: 0, top_p: 1, min_p: 0, repetition_penalty: 1, seed: 1 };
    const messages = [{ role: 'user', content }];
    engine.send({
      type: 'generate',
      key: 0,
      messages,
      max_tokens: answerTokens,
      sampling,
      stop: [],
      response_format: null,
    });
    await answerOf(engine, 'done');
    return own + bytesOf(engine, 'RssFile');
  } finally {
    clearInterval(look);
    engine.kill('SIGKILL');
  }
}

async function answerOf(engine: ChildProcess, type: FromEngine['type']): Promise<void> {
  const ended = once(engine, 'exit').then(() => {
    throw new Error('the engine ended');
  });
  ended.catch(() => undefined);
  for (;;) {
    const [message] = (await Promise.race([once(engine, 'message'), ended])) as [FromEngine];
    if (message.type === type) return;
    if (message.type === 'failed' || message.type === 'load_failed') throw new Error(message.message);
  }
}

function bytesOf({ pid }: ChildProcess, name: string): number {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    return Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? 0) * 1024;
  } catch {
    return 0;
  }
}

export function memoryTable(results: readonly MemoryResult[]): string {
  const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(0)} MB`;
  const rows = results.map(({ shape, layout, context, measured_bytes, foretold_bytes }) => [
    `${shape}, ${layout}, context ${context}`,
    megabytes(measured_bytes),
    megabytes(foretold_bytes),
    `${(100 * (foretold_bytes / measured_bytes - 1)).toFixed(1)} %`,
  ]);
  return table([['an engine whose context is full', 'measured', 'foretold', 'off by'], ...rows]);
}
