import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Mosquitto } from './mosquitto.ts';
import { isResult, type TestRequester } from './requester.ts';
import { until } from './wait.ts';

export interface Upgrade {
  requester: TestRequester;
  broker: Mosquitto;
  /** Resolves when the newer version is installed. */
  install(): Promise<unknown>;
  patience: { ms: number };
}

const prompts = JSON.parse(
  readFileSync(join(import.meta.dirname, '../golden/shipped-prompts.json'), 'utf8'),
) as string[];

/**
 * Upgrades a device that is at work. Prompts come before, while the older version drains and leaves them to
 * the broker, and while nobody is there; each has one answer in the end.
 */
export async function upgradeUnderLoad({ requester, broker, install, patience }: Upgrade): Promise<void> {
  const ids = prompts.map((_, i) => `upgrade-${i}`);
  const since = requester.heard.mark;
  const logged = broker.log().length;
  const send = async (from: number, to: number) => {
    for (let i = from; i < to; i++) await requester.send({ id: ids[i], prompt: prompts[i] });
  };
  const [atWork, draining] = [ids.length >> 1, (ids.length * 3) >> 2];
  await send(0, atWork);
  await requester.event(ids[0] as string, 'started', { since, ...patience });
  const installed = install();
  installed.catch(() => undefined);
  await requester.status(({ state }) => state === 'draining', { since, ...patience });
  await send(atWork, draining);
  const left = () => /Client slmd-kitchen .*disconnected/.exec(broker.log().slice(logged)) ?? undefined;
  await until(left, 'the older version has left', patience.ms);
  await send(draining, ids.length);
  await installed;

  for (const id of ids) assert.equal((await requester.result(id, patience)).status, 'ok', id);
  const results = requester.heard.all.slice(since).filter(isResult);
  for (const id of ids) {
    const contents = results.filter(({ topic }) => topic.endsWith(`/${id}`)).map(({ payload }) => payload);
    assert.equal(new Set(contents.map(String)).size, 1, `${id} has one result`);
  }
}
