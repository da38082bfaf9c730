import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, type TestContext, test } from 'node:test';
import { type BoardImage, boardImage } from '../../scripts/device/board-image.ts';
import { type FlashedCard, keepFlashed } from '../../scripts/device/flashed-card.ts';
import { olderVersion } from '../../scripts/device/packages.ts';
import { bootBytes, bootFile, bootNames } from '../support/card-image.ts';
import { certificate, startExampleBroker } from '../support/example-broker.ts';
import { flashCard } from '../support/flashed-card.ts';
import { Guest, guestBroker, guestPatience } from '../support/guest.ts';
import type { Mosquitto } from '../support/mosquitto.ts';
import { TestRequester } from '../support/requester.ts';

const prompt = 'turn on the kitchen light';
const answer = '{"action":"turn_on","target":"light","room":"kitchen"}';
const installed = `slmd_${olderVersion}_arm64.deb`;

/** The way of a card, in order: it is flashed, its board comes up once, and nobody ever logs in. */
describe('a card that slmd flash has written, at the first boot of its board', { concurrency: false }, () => {
  let dir: string;
  let image: BoardImage;
  let flashed: FlashedCard;
  let key: string;
  let broker: Mosquitto;
  let requester: TestRequester;
  let guest: Guest;
  before(async () => {
    dir = mkdtempSync(join(tmpdir(), 'slmd-flashed-'));
    image = boardImage();
  });
  after(async () => {
    guest?.kill();
    await requester?.close();
    await broker?.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  test('is made from an image that nobody has touched, and holds its secrets', async () => {
    assert.equal(bootFile(image.card, installed), null);
    flashed = await flashCard(dir, image);
    key = readFileSync(join(flashed.certificates, 'kitchen.key'), 'utf8').split('\n')[1] as string;
    assert.ok(bootFile(flashed.card, 'user-data')?.includes(key));
    assert.match(bootFile(flashed.card, 'cmdline.txt') ?? '', / cgroup_enable=memory\n$/);
  });

  test('answers a prompt over TLS with a client certificate, with no network but its broker and a wrong clock', async (t) => {
    broker = await startExampleBroker(flashed.certificates);
    // On the guest's network the broker has the address that its certificate says.
    const client = { ...certificate(flashed.certificates, 'home'), checkServerIdentity: () => undefined };
    requester = await TestRequester.connect({ url: `mqtts://localhost:${broker.port}`, client });
    const began = performance.now();
    guest = new Guest({
      card: flashed.card,
      kernel: image.kernel,
      commandLine: bootFile(flashed.card, 'cmdline.txt') ?? '',
      memory_mib: 1024,
      broker_port: broker.port,
      dir,
    });
    await guest.whileUp(requester.ready(guestPatience));
    took(t, 'power to ready', began);
    const id = await requester.send(prompt);
    assert.equal((await guest.whileUp(requester.result(id, guestPatience))).text, answer);
    took(t, 'power to the first answer', began);
    const { valid_from_s, first_line_s } = {
      valid_from_s:
        Date.parse(new X509Certificate(certificate(flashed.certificates, 'kitchen').cert).validFrom) / 1000,
      first_line_s: Number.parseFloat(
        await guest.sh('journalctl -b -o short-unix | grep -v ^-- | head -n 1'),
      ),
    };
    assert.ok(first_line_s < valid_from_s, `it came up at ${first_line_s}, before ${valid_from_s}`);
    assert.ok(Number(await guest.sh('date +%s')) >= valid_from_s);
  });

  test('runs the service as installed, in its sandbox, with a memory bound that binds', async () => {
    assert.equal((await requester.info(guestPatience)).version, olderVersion);
    const { ActiveState, DynamicUser, NRestarts, MainPID, IPAddressDeny, IPAddressAllow, MemoryMax } =
      await guest.shown(
        'slmd',
        'ActiveState,DynamicUser,NRestarts,MainPID,IPAddressDeny,IPAddressAllow,MemoryMax',
      );
    assert.deepEqual([ActiveState, DynamicUser, NRestarts], ['active', 'yes', '0']);
    assert.deepEqual(IPAddressDeny?.split(' ').sort(), ['0.0.0.0/0', '::/0']);
    assert.deepEqual(IPAddressAllow?.split(' ').sort(), ['10.0.2.100/32', '127.0.0.0/8', '::1/128']);
    const status = await guest.sh(`cat /proc/${MainPID}/status`);
    for (const line of [/^NoNewPrivs:\t1$/m, /^Seccomp:\t2$/m, /^CapBnd:\t0{16}$/m])
      assert.match(status, line);
    const cgroup = '/sys/fs/cgroup/system.slice/slmd.service';
    assert.equal(await guest.sh(`cat ${cgroup}/memory.max`), MemoryMax);
    assert.match(await guest.sh('cat /proc/cmdline'), / cgroup_enable=memory /);
    assert.equal(await guest.sh('systemctl --failed --no-legend'), '');
  });

  test('let nobody log in', async () => {
    assert.equal(await guest.sh("awk -F: '$2 !~ /^[!*]/ {print $1}' /etc/shadow"), '');
    assert.equal(await guest.sh('test -e /home/slmd-admin || echo none'), 'none');
  });

  test('has spoken to its broker, and beyond its own link to nobody else, since it had power', async () => {
    const { address, port } = guestBroker;
    const beyond = [...guest.spokenTo].filter((to) => /^(tcp|udp) /.test(to)).sort();
    // 67 is where an address is asked for.
    assert.deepEqual(
      beyond.filter((to) => to !== 'udp 255.255.255.255:67'),
      [`tcp ${address}:${port}`],
    );
  });

  test('keeps no secret and no package on its boot partition', async () => {
    await guest.powerOff();
    const names = bootNames(flashed.card);
    assert.ok(!names.includes(installed), names.join());
    for (const name of ['user-data', 'network-config']) {
      const text = bootFile(flashed.card, name) ?? '';
      assert.ok(text.length > 0 && !text.includes(key) && !text.includes('PRIVATE KEY'), name);
    }
    assert.ok(!bootBytes(flashed.card).includes(key));
    keepFlashed(flashed);
  });
});

/** For the table in devices/README.md. */
function took(t: TestContext, what: string, since: number): void {
  t.diagnostic(`${what}: ${((performance.now() - since) / 1000).toFixed(0)} s`);
}
