/** The process of one peer: opens it, does what it is told over the channel, and says what it took. */

import { readFileSync } from 'node:fs';
import { procBytes } from '../../../src/lib/proc-bytes.ts';
import { clocks, type PeerOptions } from './peer.ts';
import { peerKinds } from './peers.ts';

export type Task =
  | { do: 'answer'; prompt: number[]; tokens: number; cached: boolean }
  | { do: 'cancel'; prompt: number[]; afterMs: number }
  | { do: 'together'; prompts: number[][]; tokens: number }
  | { do: 'memory' };

export interface Opened {
  version: string;
  settings: string;
  /** From an empty process to one that can be asked, the peer's own code included. */
  load_ms: number;
}

export interface Memory {
  /** The most that the process had in memory, of any kind. */
  peak_bytes: number;
  /** What it has now: of its own, and pages of files that the kernel may take back. */
  anonymous_bytes: number;
  file_bytes: number;
}

export type Reply = { ok: unknown } | { error: string };

const [name = '', options = ''] = process.argv.slice(2);
const peerOptions = JSON.parse(options) as PeerOptions;
const now = clocks[peerOptions.clock];
const started = now();
try {
  const peer = await peerKinds[name]!.open(peerOptions);
  const { version, settings } = peer;
  const run = async (task: Task): Promise<unknown> => {
    if (task.do === 'answer') return peer.answer(task.prompt, task.tokens, task.cached);
    if (task.do === 'cancel') return peer.cancel(task.prompt, task.afterMs);
    if (task.do === 'together') return peer.together!(task.prompts, task.tokens);
    return memory();
  };
  process.on('message', (task: Task) => void run(task).then((ok) => reply({ ok }), fail));
  // The channel closes when whoever asked is done, or is no more. An exit would wait for the peer's threads.
  process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'));
  reply({ ok: { version, settings, load_ms: now() - started } satisfies Opened });
} catch (thrown) {
  fail(thrown);
}

function reply(message: Reply): void {
  process.send?.(message);
}

function fail(thrown: unknown): void {
  reply({ error: thrown instanceof Error ? thrown.message : String(thrown) });
}

function memory(): Memory {
  const status = readFileSync('/proc/self/status', 'utf8');
  const bytes = (field: string) => procBytes(status, field) ?? Number.NaN;
  return {
    peak_bytes: bytes('VmHWM'),
    anonymous_bytes: bytes('RssAnon'),
    file_bytes: bytes('RssFile'),
  };
}
