import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
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
import { TestRequester } from '../support/requester.ts';
import { upgradeUnderLoad } from '../support/upgrade.ts';

const prompt = 'turn on the kitchen light';
const answer = '{"action":"turn_on","target":"light","room":"kitchen"}';
const mebibyte = 1024 * 1024;
const cgroup = '/sys/fs/cgroup/system.slice/slmd.service';

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

  /** Under an id of this boot: the board remembers what it was asked before. */
  const ask = (why: string) => requester.send({ id: `warm-${why}`, prompt });

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
    const since = requester.heard.mark;
    const { size } = statSync(testPackage(newerVersion));
    const line = `head -c ${size} /dev/vdb >/var/tmp/newer.deb && dpkg -i --force-confold /var/tmp/newer.deb`;
    const install = () => guest.sh(line);
    await guest.whileUp(upgradeUnderLoad({ requester, broker, install, patience: guestPatience }));
    assert.equal((await requester.info({ since, ...guestPatience })).version, newerVersion);
  });

  test('the daemon and its engine are nobody, in a sandbox, and infer in it', async () => {
    const id = await ask('sandbox');
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

  test('from its sandbox the daemon sees what the kernel has killed of its own group', async () => {
    const { daemon } = await processes();
    const read = (path: string) => guest.sh(`nsenter -t ${daemon} -m cat ${path}`);
    assert.equal(await read(`/proc/${daemon}/cgroup`), '0::/system.slice/slmd.service');
    assert.match(await read(`${cgroup}/memory.events`), /^oom_kill \d+$/m);
  });

  test('an engine that finds no memory ends alone: its prompt ends with out_of_memory, and the daemon serves on', async () => {
    const { daemon, engine } = await processes();
    const before = await guest.shown('slmd', 'MainPID', 'NRestarts', 'MemoryMax');
    const anonymous = async (pid: string) =>
      Number(/RssAnon:\s+(\d+)/.exec(await guest.sh(`cat /proc/${pid}/status`))?.[1]) * 1024;
    const kills = async () =>
      Number(/^oom_kill (\d+)$/m.exec(await guest.sh(`cat ${cgroup}/memory.events`))?.[1]);
    const killsBefore = await kills();
    // Room for the daemon, for some files, and for half of an engine.
    const room = (await anonymous(daemon)) + (await anonymous(engine)) / 2 + 16 * mebibyte;
    const max = 192 * mebibyte;
    // Held still, so that it is at work on the prompt when the memory goes.
    await guest.sh(`kill -STOP ${engine}`);
    const id = await ask('no-memory');
    await guest.whileUp(requester.event(id, 'started', guestPatience));
    await guest.sh(`systemctl set-property --runtime slmd.service MemoryMax=${max}`);
    const held = Math.round(max - room);
    const taker = await guest.sh(
      `(echo -900 >/proc/self/oom_score_adj; exec sh -c 'echo $$ >${cgroup}/cgroup.procs; exec python3 -c "import time; held = bytes([1]) * ${held}; time.sleep(36000)"') </dev/null >/dev/null 2>&1 & echo $!`,
    );
    const { error } = await guest.whileUp(requester.result(id, guestPatience));
    assert.equal(error?.code, 'out_of_memory', error?.message);
    await guest.sh(`kill ${taker}`);
    const again = await ask('memory-again');
    assert.equal((await guest.whileUp(requester.result(again, guestPatience))).text, answer);
    await guest.sh(`systemctl set-property --runtime slmd.service MemoryMax=${before.MemoryMax}`);
    assert.ok((await kills()) > killsBefore);
    assert.deepEqual(await guest.shown('slmd', 'MainPID', 'NRestarts', 'MemoryMax'), before);
    assert.equal((await guest.shown('slmd', 'OOMPolicy')).OOMPolicy, 'continue');
  });
});
