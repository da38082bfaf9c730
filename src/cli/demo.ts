import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { withoutSettings } from '../config/environment.ts';
import type { TokenBatch } from '../contract/result.ts';
import { packageRoot, shippedModel } from '../lib/package-root.ts';
import { type EmbeddedBroker, startEmbeddedBroker } from '../mqtt/embedded-broker.ts';
import type { Requester } from '../mqtt/requester.ts';
import { readConfiguration } from './configuration.ts';
import { CommandError, exitCodes } from './exit-codes.ts';
import { connectRequester, timingsLine } from './requester.ts';
import { StreamPrinter } from './stream-printer.ts';

export const usage = `slmd demo [--port <n>]

Starts a broker and a daemon with the model that ships, asks three prompts over MQTT, and prints each
answer as it streams, with its timings. At a terminal it stays up until Ctrl-C.

  --port <n>  where the broker listens on loopback (default: 1883, or another where that is in use)`;

const device = 'demo';
const prompts = [
  'Could you dim the bedroom lamp to 30 percent?',
  'greenhouse: temperature 38.5 C, humidity 41 %, soil moisture 12 %, battery 87 %',
  'What is the capital of France?',
];
/** Loading takes a second or two; on a slow board with a cold disk, more. */
const readyTimeoutMs = 120_000;
const answerTimeoutMs = 120_000;

export async function demo(args: string[]): Promise<void> {
  const { values } = parseArgs({ args, options: { port: { type: 'string', default: '1883' } } });
  const port = Number(values.port);
  if (!Number.isInteger(port) || port < 0 || port > 65_535)
    throw new CommandError(exitCodes.usage, '--port must be a number from 0 to 65535');
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.once(signal, () => stop.abort(new CommandError(exitCodes.interrupted, 'interrupted')));
  const broker = await startEmbeddedBroker(port);
  console.log(`broker   ${broker.url} (embedded, loopback only)`);
  const state = mkdtempSync(join(tmpdir(), 'slmd-demo-'));
  const daemon = startDaemon(broker, state);
  const ended = once(daemon, 'exit').then(() => {
    throw new CommandError(exitCodes.failed, 'the daemon ended; its lines above say why');
  });
  const shown = showThreeAndStay(broker, stop.signal);
  try {
    await Promise.race([ended, shown]);
  } finally {
    stop.abort();
    await Promise.allSettled([shown, stopDaemon(daemon), ended]);
    await broker.stop();
    rmSync(state, { recursive: true, force: true });
  }
}

async function showThreeAndStay(broker: EmbeddedBroker, stop: AbortSignal): Promise<void> {
  await showThree(broker, stop);
  if (!process.stdin.isTTY || !process.stdout.isTTY) return;
  console.log('\nThe demo stays up until Ctrl-C.');
  if (!stop.aborted) await once(stop, 'abort');
}

/** The daemon as it runs on a board: its own process, told where the broker is and nothing else. */
function startDaemon({ url }: EmbeddedBroker, state: string): ChildProcess {
  // An empty configuration file: whatever this machine's own says is not meant for the demo.
  const settings = {
    SLMD_CONFIG: '/dev/null',
    SLMD_MQTT_URL: url,
    SLMD_DEVICE: device,
    SLMD_LOG_LEVEL: 'error',
    SLMD_JOURNAL_DIR: state,
    CACHE_DIRECTORY: state,
    SLMD_MODEL_DIR: shippedModel(),
  };
  return spawn(process.execPath, [process.argv[1] ?? '', 'run'], {
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...withoutSettings(), ...settings },
    // A group of its own: Ctrl-C is this process's to handle, and the daemon is then told to stop.
    detached: true,
  });
}

async function stopDaemon(daemon: ChildProcess): Promise<void> {
  if (daemon.exitCode !== null || daemon.signalCode !== null) return;
  daemon.kill('SIGTERM');
  await once(daemon, 'exit');
}

async function showThree(broker: EmbeddedBroker, stop: AbortSignal): Promise<void> {
  const { config } = readConfiguration(null, { SLMD_MQTT_URL: broker.url });
  const requester = await connectRequester(config);
  try {
    const since = performance.now();
    await requester
      .ready(device, within(readyTimeoutMs, 'the daemon did not become ready', stop))
      .catch(explained);
    console.log(`device   ${device}, ready after ${((performance.now() - since) / 1000).toFixed(1)} s`);
    for (const prompt of prompts) await showOne(requester, prompt, stop);
    console.log(secondTerminal(broker));
  } finally {
    await requester.close();
  }
}

function explained(error: Error): never {
  throw error instanceof CommandError ? error : new CommandError(exitCodes.failed, error.message);
}

async function showOne(requester: Requester, prompt: string, stop: AbortSignal): Promise<void> {
  console.log(`\n> ${prompt}`);
  const id = `demo-${prompts.indexOf(prompt) + 1}`;
  const printer = new StreamPrinter();
  const token = (batch: TokenBatch) => printer.token(batch);
  const result = await requester.ask(
    device,
    { id, prompt },
    { token },
    within(answerTimeoutMs, 'no answer came', stop),
  );
  printer.end(result);
  if (result.error !== undefined)
    throw new CommandError(exitCodes.refused, `${result.error.code}: ${result.error.message}`);
  if (result.timings !== null && result.usage !== null)
    console.log(`  ${timingsLine(result.timings, result.usage)}`);
}

function within(ms: number, message: string, stop: AbortSignal): AbortSignal {
  const late = new AbortController();
  setTimeout(() => late.abort(new CommandError(exitCodes.timeout, message)), ms).unref();
  return AbortSignal.any([late.signal, stop]);
}

function secondTerminal({ port, url }: EmbeddedBroker): string {
  const at = port === 1883 ? '' : ` -p ${port}`;
  const broker = port === 1883 ? '' : ` --url ${url}`;
  return `
In a second terminal, in ${packageRoot()}:
  mosquitto_sub -h 127.0.0.1${at} -v -t 'slmd/${device}/#'
  mosquitto_pub -h 127.0.0.1${at} -q 1 -t slmd/${device}/prompt -m 'turn off the kitchen light'
  npx slmd ask${broker} "open the living room blinds" --stream`;
}
