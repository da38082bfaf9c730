import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import type { WireRequest } from '../contract/request.ts';
import type { Result } from '../contract/result.ts';
import type { Status } from '../contract/status.ts';
import { timerMaxMs } from '../lib/clock.ts';
import { messageOf } from '../lib/errors.ts';
import type { Requester } from '../mqtt/requester.ts';
import { ConnectError } from '../mqtt/trouble.ts';
import { readConfiguration } from './configuration.ts';
import { CommandError, exitCodes } from './exit-codes.ts';
import { numberOption } from './number-option.ts';
import { connectRequester, timingsLine } from './requester.ts';
import { StreamPrinter } from './stream-printer.ts';

export const usage = `slmd ask "<prompt>" [options]

Asks a device over MQTT and prints its answer on stdout; timings go to stderr.

  --device <name>       which device (default: the only one that is ready)
  --stream              prints the answer as it comes
  --json                prints the result document; with --stream every message, one a line
  --system <text>       a system message before the prompt
  --max-tokens <n>      --temperature <t>      --seed <n>
  --json-object         the answer is a JSON object
  --schema <file>       the answer is JSON that is valid under this JSON schema
  --priority <p>        low, normal or high
  --timeout <seconds>   gives up, and cancels, after so long (default: 120)
  --url <url>           the broker (default: $SLMD_MQTT_URL, else mqtt://localhost:1883)
  --config <file>       takes broker, credentials and topic prefix from a configuration file
  --quiet               no timings

Credentials come from the configuration: SLMD_MQTT_USERNAME, SLMD_MQTT_PASSWORD_FILE.
Exit code: 0 answered, 1 no device is ready, 4 no broker, 5 no answer in time, 6 the device answered with
an error, 130 interrupted.`;

const options = {
  device: { type: 'string' },
  stream: { type: 'boolean', default: false },
  json: { type: 'boolean', default: false },
  system: { type: 'string' },
  'max-tokens': { type: 'string' },
  temperature: { type: 'string' },
  seed: { type: 'string' },
  'json-object': { type: 'boolean', default: false },
  schema: { type: 'string' },
  priority: { type: 'string' },
  timeout: { type: 'string', default: '120' },
  url: { type: 'string' },
  config: { type: 'string' },
  quiet: { type: 'boolean', default: false },
} as const;

type Values = ReturnType<typeof parseArgs<{ options: typeof options }>>['values'];

export async function ask(args: string[]): Promise<void> {
  const { values, positionals } = parseArgs({ args, allowPositionals: true, options });
  const prompt = positionals.join(' ').trim();
  if (prompt === '') throw new CommandError(exitCodes.usage, `there is no prompt\n\n${usage}`);
  // Who names a broker means that one alone.
  const named = values.url === undefined ? {} : { SLMD_MQTT_URL: values.url, SLMD_MQTT_FALLBACK_URLS: '[]' };
  const env = { ...process.env, ...named };
  const { config } = readConfiguration(values.config ?? process.env.SLMD_CONFIG ?? null, env);
  const request = requestOf(prompt, values);

  const requester = await connectRequester(config);
  try {
    const device = values.device ?? (await onlyDevice(requester, config.topic_prefix, config.mqtt.url));
    const given = await answer(requester, device, request, values).catch((error: unknown) =>
      explain(error, requester, device, config.topic_prefix),
    );
    show(given, values);
  } finally {
    await requester.close();
  }
}

/** What a number is, the device decides: it refuses with a code and names the field. */
function requestOf(prompt: string, values: Values): WireRequest & { id: string } {
  const number = (text: string | undefined, name: string) =>
    text === undefined ? {} : { [name]: numberOption(name.replace('_', '-'), text) };
  return {
    id: `ask-${randomUUID()}`,
    ...(values.system === undefined
      ? { prompt }
      : {
          messages: [
            { role: 'system', content: values.system },
            { role: 'user', content: prompt },
          ],
        }),
    ...number(values['max-tokens'], 'max_tokens'),
    ...number(values.temperature, 'temperature'),
    ...number(values.seed, 'seed'),
    ...(values.priority === undefined ? {} : { priority: values.priority as 'low' | 'normal' | 'high' }),
    ...responseFormatOf(values),
    deadline_ms: deadlineOf(values.timeout),
    stream: values.stream,
  };
}

/** What can be enforced, the device decides: it refuses with the path in the schema. */
function responseFormatOf(values: Values): Pick<WireRequest, 'response_format'> {
  const { schema: file, 'json-object': anyObject } = values;
  if (file === undefined) return anyObject ? { response_format: { type: 'json_object' } } : {};
  if (anyObject) throw new CommandError(exitCodes.usage, 'one of --schema and --json-object is enough');
  try {
    const schema = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
    return { response_format: { type: 'json_schema', json_schema: { schema } } };
  } catch (error) {
    throw new CommandError(exitCodes.usage, `--schema ${file} cannot be read as JSON: ${messageOf(error)}`);
  }
}

function deadlineOf(timeout: string): number {
  const ms = Number(timeout) * 1000;
  if (ms >= 1 && ms <= timerMaxMs - graceMs) return Math.round(ms);
  throw new CommandError(exitCodes.usage, '--timeout must be a number of seconds');
}

async function onlyDevice(requester: Requester, prefix: string, url: string): Promise<string> {
  const devices = [...(await requester.devices())];
  const ready = devices.filter(([, { state }]) => state === 'ready').map(([name]) => name);
  if (ready[0] !== undefined && ready.length === 1) return ready[0];
  if (ready.length > 1)
    throw new CommandError(
      exitCodes.usage,
      `several devices are ready: name one with --device (${ready.join(', ')})`,
    );
  const known = devices.map(([name, { state }]) => `${name} is ${state}`);
  throw new CommandError(
    exitCodes.failed,
    known.length === 0
      ? `no device has ever spoken under ${prefix}/ at ${url}: is slmd running there?`
      : `no device is ready: ${known.join(', ')}`,
  );
}

async function answer(
  requester: Requester,
  device: string,
  request: WireRequest & { id: string },
  values: Values,
): Promise<Result> {
  const giveUp = new AbortController();
  const seconds = (request.deadline_ms ?? 0) / 1000;
  const timer = setTimeout(
    () => giveUp.abort(new CommandError(exitCodes.timeout, `${device} gave no answer within ${seconds} s`)),
    // The device ends the request at its deadline by itself, and says so; this is for one that is silent.
    (request.deadline_ms ?? 0) + graceMs,
  );
  const interrupt = () => giveUp.abort(new CommandError(exitCodes.interrupted, 'cancelled'));
  process.on('SIGINT', interrupt);
  const line = (document: object) => console.log(JSON.stringify(document));
  const printer = new StreamPrinter();
  try {
    const result = await requester.ask(
      device,
      request,
      values.json && values.stream
        ? { event: line, token: line }
        : { token: (batch) => void (values.stream && printer.token(batch)) },
      giveUp.signal,
    );
    if (values.json) line(result);
    else if (values.stream) printer.end(result);
    else if (result.text !== '') console.log(result.text);
    return result;
  } catch (error) {
    if (error instanceof ConnectError) throw new CommandError(exitCodes.broker, error.message);
    throw error;
  } finally {
    clearTimeout(timer);
    process.removeListener('SIGINT', interrupt);
  }
}

/** A device that is silent may not be there at all: what the broker knows of it says more than the time does. */
async function explain(error: unknown, requester: Requester, device: string, prefix: string): Promise<never> {
  if (!(error instanceof CommandError) || error.exitCode !== exitCodes.timeout) throw error;
  const devices = await requester.devices().catch(() => new Map<string, Status>());
  const state = devices.get(device)?.state;
  const others = devices.size === 0 ? '' : `; there are ${[...devices.keys()].join(', ')}`;
  const known =
    state === undefined ? `nobody of this name has spoken under ${prefix}/${others}` : `it is ${state}`;
  throw new CommandError(exitCodes.timeout, `${error.message}: ${known}`);
}

/** Longer than a result takes from the device to here. */
const graceMs = 2000;

function show({ device, timings, usage, error }: Result, { json, quiet }: Values): void {
  if (!quiet && !json && timings !== null && usage !== null) console.error(timingsLine(timings, usage));
  if (error === undefined) return;
  const code = error.code === 'expired' ? exitCodes.timeout : exitCodes.refused;
  throw new CommandError(code, `${device}: ${error.code}: ${error.message}`);
}
