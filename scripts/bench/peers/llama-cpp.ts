import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { AnswerClock, cancelLatency, type Peer, type PeerOptions } from './peer.ts';

/** What is used of `node-llama-cpp`, which is installed only where the bench has run. */
interface NodeLlamaCpp {
  getLlama(options: object): Promise<Llama>;
}

interface Llama {
  loadModel(options: object): Promise<{ createContext(options: object): Promise<Context> }>;
  dispose(): Promise<void>;
}

interface Context {
  getSequence(): Sequence;
}

interface Sequence {
  nextTokenIndex: number;
  clearHistory(): Promise<void>;
  evaluate(tokens: readonly number[], options: object): AsyncGenerator<number, void>;
}

const batchTokens = 512;

/** `auto` is its default; without it the long contexts of small models go faster on some processors. */
export type FlashAttention = 'auto' | false;

/** llama.cpp through `node-llama-cpp`, with the binary that its package brings for this processor. */
export async function open(
  { model, packages, clock, threads, contextLength }: PeerOptions,
  flashAttention: FlashAttention,
): Promise<Peer> {
  const entry = createRequire(`${packages}/package.json`).resolve('node-llama-cpp');
  const { getLlama } = (await import(pathToFileURL(entry).href)) as NodeLlamaCpp;
  const llama = await getLlama({
    gpu: false,
    build: 'never',
    skipDownload: true,
    progressLogs: false,
    logLevel: 'error',
    maxThreads: threads,
  });
  const loaded = await llama.loadModel({ modelPath: model });
  const context = await loaded.createContext({
    contextSize: contextLength,
    batchSize: batchTokens,
    threads: { ideal: threads, min: threads },
    flashAttention,
  });
  const sequence = context.getSequence();
  const evaluate = (prompt: readonly number[]) =>
    sequence.evaluate(prompt, { temperature: 0, yieldEogToken: true });
  return {
    version: versionOf(join(dirname(entry), '..')),
    settings: `${threads} thread(s), batch ${batchTokens}, flash attention ${flashAttention}, cache f16`,
    async answer(prompt, tokens, cached) {
      if (!cached) await sequence.clearHistory();
      const stamps = new AnswerClock(clock);
      for await (const id of evaluate(prompt.slice(sequence.nextTokenIndex))) {
        stamps.token(id);
        if (stamps.tokens === tokens) break;
      }
      return stamps.answer();
    },
    async cancel(prompt, afterMs) {
      await sequence.clearHistory();
      const evaluation = evaluate(prompt);
      // It hears of it when the first token is there; nothing that is documented ends it sooner.
      return cancelLatency(
        () => evaluation.next(),
        () => void evaluation.return(),
        afterMs,
      );
    },
    close: () => llama.dispose(),
  };
}

function versionOf(dir: string): string {
  const read = (file: string) => JSON.parse(readFileSync(join(dir, file), 'utf8')) as Record<string, string>;
  const { tag, release } = read('llama/llama.cpp.info.json');
  return `${read('package.json').version} (llama.cpp ${tag ?? release})`;
}
