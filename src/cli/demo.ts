import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { parseArgs } from 'node:util';
import { type EmbeddedBroker, startEmbeddedBroker } from '../mqtt/embedded-broker.ts';
import type { Requester } from '../mqtt/requester.ts';
import { readConfiguration } from './configuration.ts';
import { CommandError, exitCodes } from './exit-codes.ts';
import { connectRequester, timingsLine } from './requester.ts';

export const usage = `slmd demo [--port <n>]

Starts a broker and a daemon with the model that ships, asks three prompts over MQTT, and prints each
answer as it streams, with its timings. At a terminal it stays up until Ctrl-C.

  --port <n>  where the broker listens on loopback (default: 1883, or another where that is in use)`;

const device = 'demo';
const prompts = [
  'Could you dim the bedroom lamp to 30 percent?',
  'greenhouse: temperature 38.5 C, humidity 41 %, soil moisture 12 %, battery 3.9 V',
  'What is the capital of France?',
];
/** Loading takes a second or two; on a slow board with a cold disk, more. */
const readyTimeoutMs = 120_000;
const answerTimeoutMs = 120_000;

export async function demo(args: string[]): Promise<void> {
  const { values } = parseArgs({ args, options: { port: { type: 'string', default: '1883' } } });
  const broker = await startEmbeddedBroker(Number(values.port));
  console.log(`broker   ${broker.url} (embedded, loopback only)`);
  const daemon = startDaemon(broker);
  try {
    await showThree(broker, daemon);
    if (process.stdin.isTTY && process.stdout.isTTY) {
      console.log('\nThe demo stays up until Ctrl-C.');
      await Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')]);
    }
  } finally {
    await stopDaemon(daemon);
    await broker.stop();
  }
}

/** The daemon as it runs on a board: its own process, told where the broker is and nothing else. */
function startDaemon({ url }: EmbeddedBroker): ChildProcess {
  const settings = { SLMD_MQTT_URL: url, SLMD_DEVICE: device, SLMD_LOG_LEVEL: 'error' };
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('SLMD_'));
  return spawn(process.execPath, [process.argv[1] ?? '', 'run'], {
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...Object.fromEntries(inherited), ...settings },
    // A group of its own: Ctrl-C is this process's to handle, and the daemon is then told to stop.
    detached: true,
  });
}

async function stopDaemon(daemon: ChildProcess): Promise<void> {
  if (daemon.exitCode !== null || daemon.signalCode !== null) return;
  daemon.kill('SIGTERM');
  await once(daemon, 'exit');
}

async function showThree(broker: EmbeddedBroker, daemon: ChildProcess): Promise<void> {
  const { config } = readConfiguration(null, { SLMD_MQTT_URL: broker.url });
  const requester = await connectRequester(config);
  try {
    const early = once(daemon, 'exit').then(() => {
      throw new CommandError(exitCodes.failed, 'the daemon ended; its lines above say why');
    });
    const since = performance.now();
    await Promise.race([
      early,
      requester.ready(device, limit(readyTimeoutMs, 'the daemon did not become ready')),
    ]);
    console.log(`device   ${device}, ready after ${((performance.now() - since) / 1000).toFixed(1)} s`);
    for (const prompt of prompts) await Promise.race([early, showOne(requester, prompt)]);
    console.log(secondTerminal(broker));
  } finally {
    await requester.close();
  }
}

async function showOne(requester: Requester, prompt: string): Promise<void> {
  console.log(`\n> ${prompt}`);
  const id = `demo-${prompts.indexOf(prompt) + 1}`;
  let streamed = '';
  const result = await requester.ask(
    device,
    { id, prompt },
    {
      token: ({ text }) => {
        streamed += text;
        process.stdout.write(text);
      },
    },
    limit(answerTimeoutMs, 'no answer came'),
  );
  if (result.error !== undefined)
    throw new CommandError(exitCodes.refused, `${result.error.code}: ${result.error.message}`);
  // Tokens are QoS 0: where one was dropped, the result still has the whole text.
  console.log(streamed === result.text ? '' : `\n${result.text}`);
  if (result.timings !== null && result.usage !== null)
    console.log(`  ${timingsLine(result.timings, result.usage)}`);
}

function limit(ms: number, message: string): AbortSignal {
  const controller = new AbortController();
  setTimeout(() => controller.abort(new CommandError(exitCodes.timeout, message)), ms).unref();
  return controller.signal;
}

function secondTerminal({ port, url }: EmbeddedBroker): string {
  const at = port === 1883 ? '' : ` -p ${port}`;
  const broker = port === 1883 ? '' : ` --url ${url}`;
  return `
In a second terminal:
  mosquitto_sub -h 127.0.0.1${at} -v -t 'slmd/${device}/#'
  mosquitto_pub -h 127.0.0.1${at} -q 1 -t slmd/${device}/prompt -m 'turn off the kitchen light'
  npx slmd ask${broker} "open the living room blinds" --stream`;
}
