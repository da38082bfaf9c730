/** The thread in which grammars are compiled and masks made, so that neither holds the engine up. */

import { parentPort, workerData } from 'node:worker_threads';
import { messageOf } from '../lib/errors.ts';
import { type Choice, Matcher } from './matcher.ts';
import type { Vocabulary } from './vocabulary.ts';

export type ToWorker = { kind: 'open'; ebnf: string } | { kind: 'accept'; id: number };

/** One for each message, in order. */
export type FromWorker =
  | (Choice & { kind: 'choice'; memory_bytes: number })
  | { kind: 'failed'; message: string };

const matcher = new Matcher(workerData as Vocabulary);

async function answer(message: ToWorker): Promise<FromWorker> {
  try {
    const choice =
      message.kind === 'open' ? await matcher.open(message.ebnf) : await matcher.accept(message.id);
    return { kind: 'choice', ...choice, memory_bytes: matcher.memoryBytes };
  } catch (thrown) {
    return { kind: 'failed', message: messageOf(thrown) };
  }
}

parentPort?.on('message', (message: ToWorker) => {
  void answer(message).then((reply) => parentPort?.postMessage(reply));
});
