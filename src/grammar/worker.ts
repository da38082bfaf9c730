/** The thread in which schemas become masks, so that none of it holds the engine up. */

import { parentPort, workerData } from 'node:worker_threads';
import type { ResponseFormat } from '../contract/prompt.ts';
import { readSchema } from '../contract/schema/read.ts';
import { anyObject, type ReadSchema } from '../contract/schema/shape.ts';
import { messageOf, SlmdError } from '../lib/errors.ts';
import { grammarOf } from './ebnf.ts';
import type { WrittenGrammar } from './marks.ts';
import { type Choice, Matcher, readyMax } from './matcher.ts';
import { Recent } from './recent.ts';
import type { Vocabulary } from './vocabulary.ts';

export type ToWorker = { kind: 'open'; format: ResponseFormat } | { kind: 'accept'; id: number };

/** One for each message, in order. */
export type FromWorker =
  | (Choice & { kind: 'choice'; memory_bytes: number })
  /** Nothing is wrong with the thread. */
  | { kind: 'refused'; reason: string }
  | { kind: 'failed'; reason: string };

const matcher = new Matcher(workerData as Vocabulary);
const written = new Recent<WrittenGrammar>(readyMax);

async function answer(message: ToWorker): Promise<FromWorker> {
  try {
    const choice =
      message.kind === 'open'
        ? await matcher.open(grammarFor(message.format))
        : await matcher.accept(message.id);
    return { kind: 'choice', ...choice, memory_bytes: matcher.memoryBytes };
  } catch (thrown) {
    const isRefusal = thrown instanceof SlmdError && thrown.code === 'schema_unsupported';
    return { kind: isRefusal ? 'refused' : 'failed', reason: messageOf(thrown) };
  }
}

/** Writing a grammar takes longer than opening one that is compiled. */
function grammarFor(format: ResponseFormat): WrittenGrammar {
  const name = JSON.stringify(format);
  return written.get(name) ?? written.add(name, grammarOf(schemaOf(format)));
}

/** The daemon has read it; one that an older version accepted may be refused by this one. */
function schemaOf(format: ResponseFormat): ReadSchema {
  if (format.type === 'json_object') return anyObject;
  const read = readSchema(format.schema);
  if ('root' in read) return read;
  throw new SlmdError('schema_unsupported', `${read.path}: ${read.reason}`);
}

parentPort?.on('message', (message: ToWorker) => {
  void answer(message).then((reply) => parentPort?.postMessage(reply));
});
