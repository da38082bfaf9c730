/**
 * The engine process: what the daemon starts with an IPC channel (`serialization: 'advanced'`).
 *
 * It loads one model, then answers as many generations at a time as it has rows; the daemon queues. Prompts and answers go
 * through the channel only: nothing of them is ever written to standard error.
 *
 * INVARIANTS
 * - `load` is answered once, by `ready` or `load_failed`; each `generate` once, by `done` or `failed`
 * - every message of a key comes before its `done` or `failed`; no more generations run than there are rows
 * - without a parent there is no engine: it exits when the channel closes
 */

import type { FailedMessage, FromEngine, GenerateMessage, LoadMessage, ToEngine } from '../ipc/messages.ts';
import { parseToEngine } from '../ipc/to-engine.ts';
import { messageOf, SlmdError } from '../lib/errors.ts';
import { giveBackStart } from '../lib/own-memory.ts';
import { type Engine, openEngine } from './engine.ts';

let loading = false;
let engine: Engine | undefined;
const running = new Map<number, AbortController>();

function onMessage(raw: unknown): void {
  const received = parseToEngine(raw);
  if (received.kind === 'message') handle(received.message);
  else if (received.kind === 'invalid_generate') fail(received.key, 'invalid_request', received.reason);
  else console.error(`slmd engine: a message was dropped: ${received.reason}`);
}

function handle(message: ToEngine): void {
  if (message.type === 'load') void load(message);
  else if (message.type === 'generate') void run(message);
  else running.get(message.key)?.abort();
}

async function load({ model_dir, options, trust, variant_kind }: LoadMessage): Promise<void> {
  if (loading) {
    console.error('slmd engine: a second load was dropped');
    return;
  }
  loading = true;
  try {
    engine = await openEngine(model_dir, options, trust ?? null, variant_kind);
    const { backend_reason } = engine.info.engine;
    if (backend_reason !== null)
      console.error(`slmd engine: slower than it could be, without the native backend: ${backend_reason}`);
    send({ type: 'ready', info: engine.info });
    restWhenQuiet();
  } catch (thrown) {
    const code = thrown instanceof SlmdError ? thrown.code : 'engine_failed';
    send({ type: 'load_failed', code, message: messageOf(thrown) });
  }
}

/** A prompt that waited for the load, or for the answer before it, has begun by then. */
const quietMs = 1000;
let resting: NodeJS.Timeout | undefined;
let rested = false;

/** Gives back what the load and answers have left in memory, in a moment in which no answer waits for it. */
function restWhenQuiet(): void {
  clearTimeout(resting);
  resting = setTimeout(() => {
    // Whatever runs asks again at its end.
    if (running.size > 0) return;
    if (!rested) giveBackStart();
    rested = true;
    engine?.rest();
  }, quietMs).unref();
}

async function run({ type: _type, key, ...request }: GenerateMessage): Promise<void> {
  if (engine === undefined) return fail(key, 'engine_failed', 'no model is loaded');
  if (running.size >= engine.info.engine.rows || running.has(key))
    return fail(key, 'engine_failed', 'as many generations are running as there can be');
  const abort = new AbortController();
  running.set(key, abort);
  const events = {
    onProgress: (prefilled_tokens: number, prompt_tokens: number) =>
      send({ type: 'progress', key, prefilled_tokens, prompt_tokens }),
    onTokens: (text: string, completion_tokens: number) =>
      send({ type: 'tokens', key, text, completion_tokens }),
  };
  try {
    const generation = await engine.generate(request, events, abort.signal);
    running.delete(key);
    send({ type: 'done', key, ...generation });
  } catch (thrown) {
    running.delete(key);
    failWith(key, thrown);
  }
  restWhenQuiet();
}

function failWith(key: number, thrown: unknown): void {
  if (!(thrown instanceof SlmdError)) {
    // A message that we did not write may quote the prompt; where it came from is enough to find it.
    const error = thrown instanceof Error ? thrown : new Error();
    const [place] = error.stack?.match(/^ {4}at .*$/m) ?? [];
    console.error(`slmd engine: ${error.name} in a generation${place ?? ''}`);
    fail(key, 'engine_failed', `the engine failed with a ${error.name}`);
  } else if (isRefusal(thrown.code)) {
    fail(key, thrown.code, thrown.message);
  } else {
    fail(key, 'engine_failed', thrown.message);
  }
}

/** What is wrong with the request, and not with the engine. */
function isRefusal(code: string): code is Exclude<FailedMessage['code'], 'engine_failed'> {
  return ['prompt_too_long', 'invalid_request', 'schema_unsupported'].includes(code);
}

function fail(key: number, code: FailedMessage['code'], message: string): void {
  send({ type: 'failed', key, code, message });
}

function send(message: FromEngine): void {
  // A parent that is gone hears nothing; `disconnect` follows, and an unheard error would end us first.
  if (process.connected) process.send!(message, undefined, undefined, () => undefined);
}

if (process.send === undefined) {
  console.error('slmd engine: this program is started by slmd and speaks to it only');
  process.exitCode = 64;
} else {
  process.on('message', onMessage);
  // The daemon is gone. `process.exit` would wait for threads of V8 and of ONNX Runtime, some of which may wait for this
  // one (https://github.com/nodejs/node/issues/54918), and nobody would be left to end an engine that hangs.
  process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'));
  // Ctrl-C reaches the whole terminal group; it is the daemon's to decide what becomes of the engine.
  process.on('SIGINT', () => {});
}
