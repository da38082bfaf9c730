import { ackWaitMs, startNats } from '../support/nats.ts';
import { randomNumbers } from '../support/random.ts';
import { Stage } from '../support/stage.ts';
import { inTime, until } from '../support/wait.ts';
import { Asker } from './asker.ts';
import { Books, type Verdict } from './books.ts';
import { Device } from './device.ts';
import { homePrompt } from './prompts.ts';

export interface ClusterReport {
  verdict: Verdict;
  /** From the kill of the device's node to the last result of what had been asked by then. */
  last_result_ms: number;
  /** What that may take. */
  bound_ms: number;
  /** Ids in the journal that are not at their end. */
  open: string[];
}

const device = 'cluster';
const prompts = 61;
const inFlight = 20;
/** Beyond the time after which NATS brings again what nobody acknowledged. */
const slackMs = 10_000;
/** Three nodes elect their leaders before they take anything. */
const electionMs = 90_000;

/** Case 22: the node dies that a device is connected to, with prompts under way; the device goes on with another. */
export function cluster(seed: number): Promise<ClusterReport> {
  return Stage.during(async (stage) => {
    const books = new Books();
    const [first, second, third] = await startNats(stage.directory());
    if (first === undefined || second === undefined || third === undefined) throw new Error('three nodes');
    for (const node of [first, second, third]) stage.add(node);
    const mqtt = { reconnect_min_ms: 50, reconnect_max_ms: 1000, fallback_urls: [second.url, third.url] };
    const slmd = stage.add(
      new Device({
        url: first.url,
        journal_dir: stage.directory(),
        settings: { device, mqtt },
        logged: (line) => books.logged(line),
      }),
    );
    const asker = stage.add(
      await inTime(
        Asker.connect({ url: third.url, version: 4, device, books }),
        'NATS takes MQTT',
        electionMs,
      ),
    );
    slmd.start();
    await until(
      () => slmd.lines.some((line) => line.includes('"connected"')) || undefined,
      'the device is there',
      electionMs,
    );

    const random = randomNumbers(seed);
    const ask = (id: string) => {
      const question = homePrompt(id, random);
      books.asked(id, question.prompt);
      return asker.ask(question);
    };
    const ids = Array.from({ length: prompts }, (_, i) => `cluster-${i}`);
    await Promise.all(ids.slice(0, inFlight).map(ask));
    const underWay = ids.slice(inFlight, 2 * inFlight).map(ask);
    await Promise.race(underWay);
    await first.kill('SIGKILL');
    const killedAt = performance.now();
    await Promise.all(underWay);
    const last_result_ms = performance.now() - killedAt;
    await Promise.all(ids.slice(2 * inFlight).map(ask));
    const open = () => [...slmd.journal()].filter(([, { delivered }]) => !delivered).map(([id]) => id);
    await until(() => open().length === 0 || undefined, 'everything is at its end').catch(() => undefined);
    for (const [id, { results }] of slmd.journal()) for (const result of results) books.fixed(id, result);
    return { verdict: books.verdict(), last_result_ms, bound_ms: ackWaitMs + slackMs, open: open() };
  });
}

/** What a run showed that it must not show; none where it passed. */
export function clusterFailures({ verdict, last_result_ms, bound_ms, open }: ClusterReport): string[] {
  const { lost, conflicting, computed_twice } = verdict;
  return [
    ...Object.entries({ lost, conflicting, computed_twice, open })
      .filter(([, ids]) => ids.length > 0)
      .map(([what, ids]) => `${what}: ${ids.join(', ')}`),
    ...(last_result_ms <= bound_ms ? [] : [`the last result came after ${last_result_ms.toFixed(0)} ms`]),
  ];
}

export function clusterTable({ verdict, last_result_ms, bound_ms }: ClusterReport): string {
  const { answered, lost, conflicting, computed_twice, heard_again } = verdict;
  return [
    `cluster  three nodes of NATS, MQTT 3.1.1; the device's is killed with ${inFlight} prompts under way`,
    `answered ${answered}/${prompts} · lost ${lost.length} · conflicting ${conflicting.length} · computed twice ${computed_twice.length} · heard again ${heard_again}`,
    `the last result of those came ${(last_result_ms / 1000).toFixed(1)} s after the kill, bound ${bound_ms / 1000} s`,
  ].join('\n');
}
