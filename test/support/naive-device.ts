/**
 * What a device would be without a journal and with MQTT.js's own acknowledgements: the control of the
 * fault tests. Under the faults that slmd withstands it must lose prompts, else they prove nothing.
 *
 * As a process: the broker's URL, 4 or 5, the device's name. It answers `slow <n> …` as the fake engine
 * does, one prompt at a time.
 */

import { setTimeout as pause } from 'node:timers/promises';
import mqtt from 'mqtt';
import { topicsOf } from '../../src/contract/topics.ts';
import { tokenPauseMs } from './fake-engine.ts';

function run([url = '', version = '', device = '']: string[]): void {
  const topics = topicsOf('slmd', device);
  const client = mqtt.connect(url, {
    protocolVersion: Number(version) as 4 | 5,
    clientId: `slmd-${device}`,
    clean: false,
    properties: { sessionExpiryInterval: 3600 },
    reconnectPeriod: 100,
  });
  const publish = (topic: string, document: object) =>
    client.publishAsync(topic, JSON.stringify(document), { qos: 1, retain: true }).catch(() => undefined);
  let work = Promise.resolve();
  client.on('error', () => undefined);
  client.on('connect', () => {
    client.subscribe(topics.prompt, { qos: 1 });
    void publish(topics.status, { state: 'ready', boot: 'naive', why: null });
  });
  client.on('message', (_topic, payload) => {
    const { id, prompt } = JSON.parse(payload.toString()) as { id: string; prompt: string };
    work = work.then(async () => {
      await pause(Number.parseInt(prompt.split(' ')[1] ?? '', 10) * tokenPauseMs);
      void publish(topics.result(id), { id, status: 'ok', text: prompt });
    });
  });
  process.on('SIGTERM', () => process.exit(0));
}

if (import.meta.main) run(process.argv.slice(2));
