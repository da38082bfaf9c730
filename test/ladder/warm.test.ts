import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { boardImage } from '../../scripts/device/board-image.ts';
import { flashedCard } from '../../scripts/device/flashed-card.ts';
import { newerVersion, olderVersion, testPackage } from '../../scripts/device/packages.ts';
import { bootFile } from '../support/card-image.ts';
import { certificate, startExampleBroker } from '../support/example-broker.ts';
import { Guest, guestPatience } from '../support/guest.ts';
import type { Mosquitto } from '../support/mosquitto.ts';
import { isResult, TestRequester } from '../support/requester.ts';
import { until } from '../support/wait.ts';

const prompt = 'turn on the kitchen light';
const answer = '{"action":"turn_on","target":"light","room":"kitchen"}';
const cgroup = '/sys/fs/cgroup/system.slice/slmd.service';
const prompts = JSON.parse(
  readFileSync(join(import.meta.dirname, '../golden/shipped-prompts.json'), 'utf8'),
) as string[];

/** One boot of a card that was flashed before, in order; what the board writes meanwhile is forgotten. */
describe('a board of 512 MB that was flashed some time ago', { concurrency: false }, () => {
  let dir: string;
  let broker: Mosquitto;
  let requester: TestRequester;
  let guest: Guest;
  before(async () => {
    const flashed = flashedCard();
    assert.ok(flashed !== null, 'npm run test:device flashes the card that this boots');
    dir = mkdtempSync(join(tmpdir(), 'slmd-warm-'));
    broker = await startExampleBroker(flashed.certificates);
    const client = { ...certificate(flashed.certificates, 'home'), checkServerIdentity: () => undefined };
    requester = await TestRequester.connect({ url: `mqtts://localhost:${broker.port}`, client });
    guest = new Guest({
      card: flashed.card,
      kernel: boardImage().kernel,
      commandLine: bootFile(flashed.card, 'cmdline.txt') ?? '',
      memory_mib: 512,
      broker_port: broker.port,
      dir,
      forgets: true,
      second_disk: testPackage(newerVersion),
    });
  });
  after(async () => {
    guest?.kill();
    await requester?.close();
    await broker?.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  /** The daemon and its engine. */
  const processes = async () => {
    const [daemon, engine] = (await guest.sh(`sort -n ${cgroup}/cgroup.procs`)).split('\n');
    return { daemon: daemon as string, engine: engine as string };
  };

  test('is ready again by itself, with a clock that has forgotten the flashing', async (t) => {
    const began = performance.now();
    await guest.whileUp(requester.ready(guestPatience));
    t.diagnostic(`power to ready: ${((performance.now() - began) / 1000).toFixed(0)} s`);
    assert.equal((await requester.info(guestPatience)).version, olderVersion);
    assert.ok(Number(/MemTotal: +(\d+)/.exec(await guest.sh('cat /proc/meminfo'))?.[1]) < 512 * 1024);
  });

  test('an upgrade over the running version loses no prompt that is under way or comes meanwhile', async () => {
    const ids = prompts.map((_, i) => `upgrade-${i}`);
    const half = ids.length >> 1;
    const since = requester.heard.mark;
    const logged = broker.log().length;
    const sending = (i: number) => requester.send({ id: ids[i], prompt: prompts[i] });
    for (let i = 0; i < half; i++) await sending(i);
    await guest.whileUp(requester.event(ids[0] as string, 'started', { since, ...guestPatience }));
    const { size } = statSync(testPackage(newerVersion));
    const install = `head -c ${size} /dev/vdb >/var/tmp/newer.deb && dpkg -i --force-confold /var/tmp/newer.deb`;
    const upgrade = guest.sh(install);
    const left = () => /Client slmd-kitchen .*disconnected/.exec(broker.log().slice(logged)) ?? undefined;
    await guest.whileUp(until(left, 'the older version has left', guestPatience.ms));
    for (let i = half; i < ids.length; i++) await sending(i);
    await upgrade;
    for (const id of ids)
      assert.equal((await guest.whileUp(requester.result(id, guestPatience))).status, 'ok', id);
    for (const id of ids) {
      const results = requester.heard.all.filter(
        (message) => isResult(message) && message.topic.endsWith(`/${id}`),
      );
      assert.equal(new Set(results.map(({ payload }) => payload.toString())).size, 1, `${id} has one result`);
    }
    assert.equal((await requester.info({ since, ...guestPatience })).version, newerVersion);
  });

  test('the daemon and its engine are nobody, in a sandbox, and infer in it', async () => {
    const id = await requester.send(prompt);
    assert.equal((await guest.whileUp(requester.result(id, guestPatience))).text, answer);
    const { daemon, engine } = await processes();
    for (const pid of [daemon, engine]) {
      const status = await guest.sh(`cat /proc/${pid}/status`);
      for (const line of [/^NoNewPrivs:\t1$/m, /^Seccomp:\t2$/m, /^CapEff:\t0{16}$/m])
        assert.match(status, line);
      assert.doesNotMatch(status, /^Uid:\t0\t/m);
      const { output } = await guest.run(
        '/usr/bin/nsenter',
        '-t',
        pid,
        '-m',
        'touch',
        '/usr/written',
        '/etc/written',
      );
      assert.equal(output.match(/Read-only file system/g)?.length, 2, output);
    }
  });

  test('from its control group nobody is reached but the broker', async () => {
    const speak = (port: number, first = '') =>
      guest.run('/usr/bin/timeout', '20', '/bin/bash', '-c', `${first} exec 3<>/dev/tcp/10.0.2.2/${port}`);
    // A packet that the filter takes is never answered.
    assert.equal((await speak(7, `echo $$ >${cgroup}/cgroup.procs &&`)).status, 124);
    // Without the unit's filter, the same is heard on the wire.
    await speak(9);
    const spoken = guest.spokenTo;
    assert.deepEqual([spoken.has('tcp 10.0.2.2:7'), spoken.has('tcp 10.0.2.2:9')], [false, true]);
  });

  test('systemd was told that it is ready, and is told again and again that it lives', async () => {
    const look = () =>
      guest.shown('slmd', 'Type', 'ActiveState', 'WatchdogUSec', 'WatchdogTimestampMonotonic', 'StatusText');
    const first = await look();
    assert.deepEqual([first.Type, first.ActiveState, first.WatchdogUSec], ['notify', 'active', '1min']);
    assert.notEqual(first.StatusText, '');
    const end = performance.now() + guestPatience.ms;
    const fed = async (): Promise<boolean> =>
      performance.now() < end &&
      (Number((await look()).WatchdogTimestampMonotonic) > Number(first.WatchdogTimestampMonotonic) || fed());
    assert.ok(await fed());
  });

  test('its memory is bounded by the kernel, at three quarters of what there is', async () => {
    const max = Number(await guest.sh(`cat ${cgroup}/memory.max`));
    const total_kib = Number(/MemTotal: +(\d+)/.exec(await guest.sh('cat /proc/meminfo'))?.[1]);
    assert.ok(Math.abs(max / (total_kib * 1024) - 0.75) < 0.02, `${max} of ${total_kib} KiB`);
  });
});
