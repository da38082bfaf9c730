/**
 * A whole fake of the engine room: a real process that speaks `src/ipc/messages.ts`, without a model.
 *
 * What it does follows from the first word of the last user message:
 *
 *   options              answers with what it was asked for, as JSON
 *   slow <n>             n tokens, 20 ms apart; hears `cancel` between two tokens
 *   block <ms>           computes for so long without yielding, then answers `unblocked`
 *   long <n>             an answer of n characters
 *   guess <text>         the same as `echo`, and says that of its tokens 3 were guessed, 2 accepted and 1 run again
 *   fail                 reports `engine_failed` and goes on
 *   garbage              sends what is no message and what nobody waits for, then answers `clean`
 *   hang [<file>]        gives no sign of life and hears no `cancel`; with a file it does not hear SIGTERM
 *                        either, but notes it there
 *   crash [exit]         kills itself before the first token; `exit` ends with exit code 7 instead
 *   crash late           the same after two tokens
 *   crash at two         the same after one token, once another prompt has been answered
 *   crash once <file>    the same unless the file exists; it is created first
 *   blurt <text>         ends with the text in its last words
 *   mutter <text>        says the text on standard error, and answers `muttered`
 *   oom                  ends as Node does when its heap is full
 *   echo <text>          answers with the text, a token a word; so does anything else, in full
 *
 * What it does when it loads follows from the name of the model directory: `load_failed` (until there
 * is a file `fixed` in it), `never_ready`, `load_crash`; any other is ready at once, and one that begins
 * with `model-` is the model's id. A directory that
 * exists gets a file `runs.log`, with a line for each run that begins.
 */

import { appendFileSync, existsSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { Usage } from '../../src/contract/result.ts';
import type {
  DoneMessage,
  EngineOptions,
  FromEngine,
  GenerateMessage,
  LoadMessage,
  ToEngine,
} from '../../src/ipc/messages.ts';
import { monotonicMs } from '../../src/lib/clock.ts';

/** What the fake says of itself; tests compare with it. */
export const fakeModel = {
  id: 'fake-1m-int4',
  sha256: 'fa'.repeat(32),
  layout: 'slmd' as const,
  quantization: 'int4',
  context_length: 4096,
  parameters: 1_000_000,
  verification: null,
};

export const tokenPauseMs = 20;
const longTokenChars = 64;

/** A line of `runs.log`. */
export interface EngineRun {
  /** `monotonicMs()` */
  at: number;
  /** The last user message. */
  content: string;
}

interface Job extends GenerateMessage {
  started_at: number;
  prompt_tokens: number;
  guessed?: Guessed;
}

type Guessed = Pick<Usage, 'speculated_tokens' | 'accepted_tokens' | 'rerun_tokens'>;
const nothingGuessed: Guessed = { speculated_tokens: 0, accepted_tokens: 0, rerun_tokens: 0 };

type Behaviour = (job: Job, rest: string) => Promise<void> | void;

const behaviours: Record<string, Behaviour> = {
  echo: (job, rest) => answer(job, rest),
  options: (job) => answer(job, JSON.stringify(asked(job)), [JSON.stringify(asked(job))]),
  slow: (job, rest) => slow(job, Number.parseInt(rest, 10)),
  block: (job, rest) => block(job, Number.parseInt(rest, 10)),
  long: (job, rest) => long(job, Number.parseInt(rest, 10)),
  guess: (job, rest) =>
    answer({ ...job, guessed: { speculated_tokens: 3, accepted_tokens: 2, rerun_tokens: 1 } }, rest),
  fail: ({ key }) => send({ type: 'failed', key, code: 'engine_failed', message: 'asked to fail' }),
  garbage,
  hang,
  crash,
  blurt,
  mutter,
  oom,
};

const cancelled = new Set<number>();
/** Who waits until another prompt has been answered. */
const answered: (() => void)[] = [];
let maxTokensDefault: number | null = null;
let runsFile: string | null = null;

function run(): void {
  process.on('message', (message: ToEngine) => {
    if (message.type === 'load') load(message);
    else if (message.type === 'cancel') cancelled.add(message.key);
    else void generate(message);
  });
  // Nobody is left to answer.
  process.on('disconnect', () => process.exit());
}

function load({ model_dir, options }: LoadMessage): void {
  maxTokensDefault = options.max_tokens_default;
  runsFile = existsSync(model_dir) ? join(model_dir, 'runs.log') : null;
  const how = existsSync(join(model_dir, 'fixed')) ? 'fixed' : basename(model_dir);
  if (how === 'never_ready') return;
  if (how === 'load_crash') process.exit(9);
  if (how === 'load_failed')
    send({ type: 'load_failed', code: 'model_missing', message: 'asked not to load' });
  else send(ready(options, how));
}

function ready({ threads, rows, speculation }: EngineOptions, how: string): FromEngine {
  const engine = {
    name: 'fake',
    version: '1',
    backend: 'fake',
    backend_reason: null,
    threads: threads === 0 ? 1 : threads,
    spin_us: 0,
    chosen_by: 'setting',
    accuracy_level: 4,
    accuracy_level_chosen_by: 'graph',
    rows: rows === 'auto' ? 1 : rows,
    rows_chosen_by: 'setting',
    rows_gain: null,
    speculation,
    speculation_chosen_by: 'setting',
    draft_costs: null,
  };
  const model = how.startsWith('model-') ? { ...fakeModel, id: how } : fakeModel;
  const bench = { prefill_tokens_per_second: 1000, decode_tokens_per_second: 100 };
  return { type: 'ready', info: { engine, model, bench, load_ms: 1.5 } };
}

async function generate(message: GenerateMessage): Promise<void> {
  const { key, messages } = message;
  const prompt_tokens = messages.flatMap(({ content }) => content.split(/\s+/)).length;
  const left = fakeModel.context_length - prompt_tokens;
  if (left < (message.max_tokens ?? 1))
    return send({ type: 'failed', key, code: 'prompt_too_long', message: `${prompt_tokens} tokens` });
  const max_tokens = message.max_tokens ?? Math.min(left, maxTokensDefault ?? left);
  const job = { ...message, max_tokens, started_at: monotonicMs(), prompt_tokens };
  send({ type: 'progress', key, prefilled_tokens: prompt_tokens, prompt_tokens });
  const content = messages.findLast(({ role }) => role === 'user')?.content ?? '';
  const run: EngineRun = { at: monotonicMs(), content };
  if (runsFile !== null) appendFileSync(runsFile, `${JSON.stringify(run)}\n`);
  const [, word = '', rest = ''] = /^(\S*)\s?([\s\S]*)$/.exec(content) ?? [];
  const behaviour = Object.hasOwn(behaviours, word) ? behaviours[word] : undefined;
  await (behaviour === undefined ? answer(job, content) : behaviour(job, rest));
}

/** Sends a text token by token, then `done`: ended by a stop text, by `max_tokens` or by itself. */
function answer(job: Job, whole: string, pieces?: string[]): void {
  const tokenized_at = monotonicMs();
  const ends = job.stop.map((stop) => whole.indexOf(stop)).filter((at) => at !== -1);
  const text = ends.length === 0 ? whole : whole.slice(0, Math.min(...ends));
  const wanted = pieces ?? text.split(/(?<=\s)/);
  const sent = wanted.slice(0, job.max_tokens ?? wanted.length);
  const first_token_at = monotonicMs();
  for (const [i, piece] of sent.entries()) sendToken(job, piece, i + 1);
  const finish_reason = sent.length < wanted.length ? 'length' : 'stop';
  finish(job, sent, finish_reason, { tokenized_at, first_token_at });
}

async function slow(job: Job, tokens: number): Promise<void> {
  const tokenized_at = monotonicMs();
  const bound = Math.min(tokens, job.max_tokens ?? tokens);
  const sent: string[] = [];
  let first_token_at: number | null = null;
  while (sent.length < bound) {
    await pause(tokenPauseMs);
    if (cancelled.has(job.key)) break;
    first_token_at ??= monotonicMs();
    sent.push(`t${sent.length} `);
    sendToken(job, sent.at(-1) ?? '', sent.length);
  }
  const whole = bound < tokens ? 'length' : 'stop';
  finish(job, sent, cancelled.has(job.key) ? 'cancelled' : whole, {
    tokenized_at,
    first_token_at: first_token_at ?? monotonicMs(),
  });
}

function block(job: Job, ms: number): void {
  const end = monotonicMs() + ms;
  while (monotonicMs() < end);
  answer(job, 'unblocked');
}

function long(job: Job, characters: number): void {
  const text = 'abcdefgh'.repeat(Math.ceil(characters / 8)).slice(0, characters);
  answer({ ...job, max_tokens: null }, text, text.match(new RegExp(`.{1,${longTokenChars}}`, 'g')) ?? []);
}

function garbage(job: Job): void {
  const { key } = job;
  for (const rubbish of ['rubbish', 7, [], {}, { type: 'nonsense', key }, { type: 'tokens', key, text: 7 }])
    process.send?.(rubbish);
  // Well formed, but of attempts that are over or never were.
  sendToken({ key: key - 1 }, 'stale', 1);
  finish({ ...job, key: key + 1000 }, ['stale'], 'stop', { tokenized_at: 0, first_token_at: 0 });
  answer(job, 'clean');
}

async function crash(job: Job, rest: string): Promise<void> {
  const [how = '', file = ''] = rest.split(' ');
  if (how === 'late') for (const i of [1, 2]) sendToken(job, `lost${i} `, i);
  if (how === 'at') sendToken(job, 'lost1 ', 1);
  if (how === 'at') await new Promise<void>((resolve) => answered.push(resolve));
  if (how === 'late') await pause(2 * tokenPauseMs);
  if (how === 'once' && existsSync(file)) return answer(job, 'survived');
  if (how === 'once') writeFileSync(file, '');
  if (how === 'exit') process.exit(7);
  process.kill(process.pid, 'SIGKILL');
}

function hang(_job: Job, file: string): void {
  if (file !== '') process.on('SIGTERM', () => writeFileSync(file, 'SIGTERM'));
}

/** Ends as a library does that quotes what it choked on. */
function blurt(_job: Job, rest: string): void {
  process.stderr.write(`terminate called: cannot read ${rest}\n`, () => process.exit(134));
}

function mutter(job: Job, rest: string): void {
  process.stderr.write(`terminate called: cannot read ${rest}\n`, () => answer(job, 'muttered'));
}

function oom(): void {
  process.stderr.write(
    'FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory\n',
    () => process.exit(134),
  );
}

function asked({ messages, max_tokens, sampling, stop, response_format }: Job): object {
  return { messages, max_tokens, sampling, stop, response_format };
}

function sendToken({ key }: { key: number }, text: string, completion_tokens: number): void {
  send({ type: 'tokens', key, text, completion_tokens });
}

function finish(
  { key, started_at, prompt_tokens, response_format, guessed = nothingGuessed }: Job,
  sent: readonly string[],
  finish_reason: DoneMessage['finish_reason'],
  { tokenized_at, first_token_at }: { tokenized_at: number; first_token_at: number },
): void {
  const usage = {
    prompt_tokens,
    cached_tokens: 0,
    completion_tokens: sent.length,
    ...guessed,
  };
  const stamps = { started_at, tokenized_at, first_token_at, last_token_at: monotonicMs() };
  // It says of its own text that it follows the format, as an engine does that has gone wrong.
  const format_complete = response_format !== null && finish_reason === 'stop';
  send({ type: 'done', key, text: sent.join(''), format_complete, finish_reason, usage, stamps });
  for (const resolve of answered.splice(0)) setTimeout(resolve, 2 * tokenPauseMs);
}

function send(message: FromEngine): void {
  process.send?.(message);
}

// Tests import this file for its constants; it is an engine only where it was forked as one.
if (import.meta.main) run();
