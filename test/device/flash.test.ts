import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { parse } from 'yaml';
import {
  bootFile,
  bootFiles,
  flashToolsMissing,
  type ImageOptions,
  imageBytes,
  makeImage,
  rootOf,
} from '../support/card-image.ts';
import { startCommand } from '../support/command.ts';
import { temporaryDir } from '../support/temporary.ts';

const broker = ['--broker', 'mqtt://192.168.1.2'];

/** A directory with an image and a package, and `slmd flash` in it. */
function bench(t: TestContext, image: ImageOptions = {}) {
  const dir = temporaryDir(t, {
    'slmd_0.1.0_arm64.deb': 'a package',
    password: 'hunter22\n',
    'ca.pem': 'CA\n',
  });
  const at = (name: string) => join(dir, name);
  makeImage(at('stock.img'), image);
  const flash = (...args: string[]) =>
    startCommand(['flash', ...args, '--package', at('slmd_0.1.0_arm64.deb')]).ran;
  return { dir, at, flash };
}

interface UserData {
  hostname: string;
  users: { name: string; ssh_authorized_keys: string[] }[];
  write_files: { path: string; permissions: string; content: string }[];
  runcmd: string[][];
}

function userDataOf(image: string): UserData {
  const text = bootFile(image, 'user-data') ?? '';
  assert.match(text, /^#cloud-config\n/);
  return parse(text) as UserData;
}

describe('slmd flash', { skip: flashToolsMissing() }, () => {
  test('writes an image whose board knows its name, its broker and its secrets, and nothing else is changed', async (t) => {
    const { at, flash } = bench(t);
    const { code, stdout, stderr } = await flash(
      at('stock.img'),
      '--out',
      at('card.img'),
      '--device',
      'greenhouse',
      '--broker',
      'mqtts://broker.lan',
      '--password-file',
      at('password'),
      '--ca-file',
      at('ca.pem'),
      '--manifest',
      at('cards.rpi-imager-manifest'),
    );
    assert.equal(code, 0, stderr);
    const card = at('card.img');
    const { hostname, users, write_files, runcmd } = userDataOf(card);
    assert.deepEqual([hostname, users], ['greenhouse', []]);
    const files = new Map(write_files.map(({ path, content }) => [path, content]));
    assert.deepEqual(parse(files.get('/etc/slmd/slmd.yaml') ?? ''), {
      device: 'greenhouse',
      mqtt: { url: 'mqtts://broker.lan' },
    });
    assert.equal(files.get('/etc/slmd/credentials/mqtt-password'), 'hunter22');
    assert.equal(files.get('/etc/slmd/credentials/ca.pem'), 'CA\n');
    assert.ok(
      write_files.every(
        ({ path, permissions }) => path === '/etc/slmd/slmd.yaml' || /^0[67]00$/.test(permissions),
      ),
    );
    assert.ok(files.has(runcmd[0]?.[0] ?? ''));
    assert.equal(bootFile(card, 'slmd_0.1.0_arm64.deb'), 'a package');
    assert.match(bootFile(card, 'cmdline.txt') ?? '', /^console=tty1 .* cgroup_enable=memory\n$/);
    assert.deepEqual(rootOf(card), rootOf(at('stock.img')));
    assert.doesNotMatch(stdout + stderr, /hunter22/);
    const { os_list } = JSON.parse(readFileSync(at('cards.rpi-imager-manifest'), 'utf8'));
    const sha256 = createHash('sha256').update(readFileSync(card)).digest('hex');
    assert.deepEqual([os_list[0].extract_sha256, os_list[0].extract_size], [sha256, imageBytes]);
  });

  test('writes as many boards as asked, each with a name and an instance of its own', async (t) => {
    const { at, flash } = bench(t);
    const { code, stderr } = await flash(
      at('stock.img'),
      '--out',
      at('card.img'),
      '--device',
      'shelf',
      '--count',
      '2',
      ...broker,
    );
    assert.equal(code, 0, stderr);
    const instances = ['shelf-1', 'shelf-2'].map((device) => {
      const card = at(`card-${device}.img`);
      assert.equal(userDataOf(card).hostname, device);
      return (parse(bootFile(card, 'meta-data') ?? '') as { 'instance-id': string })['instance-id'];
    });
    assert.notEqual(instances[0], instances[1]);
  });

  test('takes boards from a file, whatever their access points are called', async (t) => {
    const { at, flash } = bench(t);
    const ssid = `It's "5 GHz": #1 \\ 🏡`;
    const quoted = `"${ssid.replaceAll('"', '""')}"`;
    writeFileSync(
      at('boards.csv'),
      `device,wifi_ssid,wifi_password,wifi_country,ssh_key\nden,${quoted},"p, ""q"": #1",DE,\nhall,,,,ssh-ed25519 AAAA me\n`,
    );
    const { code, stderr } = await flash(
      at('stock.img'),
      '--out',
      at('card.img'),
      '--boards',
      at('boards.csv'),
      ...broker,
    );
    assert.equal(code, 0, stderr);
    const { network } = parse(bootFile(at('card-den.img'), 'network-config') ?? '', { version: '1.1' });
    assert.deepEqual(network.wifis.wlan0['access-points'], { [ssid]: { password: 'p, "q": #1' } });
    assert.equal(parse(bootFile(at('card-hall.img'), 'network-config') ?? '').network.wifis, undefined);
    assert.deepEqual(
      userDataOf(at('card-hall.img')).users.map(({ name }) => name),
      ['slmd-admin'],
    );
  });

  test('unpacks an image that is packed', async (t) => {
    const { at, flash } = bench(t);
    assert.equal(spawnSync('xz', ['-0', '-k', at('stock.img')]).status, 0);
    const { code, stderr } = await flash(
      at('stock.img.xz'),
      '--out',
      at('card.img'),
      '--device',
      'den',
      ...broker,
    );
    assert.equal(code, 0, stderr);
    assert.equal(userDataOf(at('card.img')).hostname, 'den');
  });

  /** What is wrong, what it is called, and the name of the image that is flashed. */
  const broken: [string, string, ImageOptions, (at: (name: string) => string) => void][] = [
    ['is cut off', 'image_truncated', {}, (at) => truncateSync(at('stock.img'), imageBytes - 1024)],
    [
      'has no partition table',
      'no_boot_partition',
      {},
      (at) => writeFileSync(at('stock.img'), Buffer.alloc(4096)),
    ],
    ['has no FAT partition', 'no_boot_partition', { type: 0x83 }, () => undefined],
    ['has no cloud-init', 'no_cloud_init', { files: { 'cmdline.txt': 'root=1\n' } }, () => undefined],
    [
      'has a boot partition that is full',
      'boot_partition_full',
      { taken_bytes: 15.9 * 1024 * 1024 },
      (at) => writeFileSync(at('slmd_0.1.0_arm64.deb'), Buffer.alloc(1024 * 1024)),
    ],
    ['is not there', 'image_unreadable', {}, (at) => spawnSync('rm', [at('stock.img')])],
    [
      'is packed and cut off',
      'image_truncated',
      {},
      (at) => {
        spawnSync('xz', ['-0', at('stock.img')]);
        writeFileSync(at('stock.img'), readFileSync(at('stock.img.xz')).subarray(0, 2000));
      },
    ],
  ];
  for (const [what, errorCode, image, breakIt] of broken)
    test(`refuses an image that ${what}, and leaves the target as it was`, async (t) => {
      const { dir, at, flash } = bench(t, image);
      breakIt(at);
      writeFileSync(at('card.img'), 'precious');
      const { code, stderr } = await flash(
        at('stock.img'),
        '--out',
        at('card.img'),
        '--force',
        '--device',
        'den',
        ...broker,
      );
      assert.equal(code, 1);
      assert.match(stderr, new RegExp(`^slmd: ${errorCode}: .+`, 'm'));
      assert.equal(readFileSync(at('card.img'), 'utf8'), 'precious');
      assert.ok(!readdirSync(dir).some((name) => name.startsWith('card-')));
    });

  test('refuses a file of boards with doubles and wrong fields, every problem at once, without repeating a password', async (t) => {
    const { at, flash } = bench(t);
    writeFileSync(at('boards.csv'), `device,wifi_ssid,wifi_password\nden,home,short\nden,,\nden,,\n`);
    const { code, stderr } = await flash(
      at('stock.img'),
      '--out',
      at('card.img'),
      '--boards',
      at('boards.csv'),
      ...broker,
    );
    assert.equal(code, 1);
    assert.match(stderr, /boards_invalid/);
    assert.match(stderr, /wifi_password/);
    assert.match(stderr, /wifi_country/);
    assert.match(stderr, /two boards have this name/);
    assert.doesNotMatch(stderr, /short/);
    assert.ok(!existsSync(at('card-den.img')));
  });

  test('refuses to replace a file that is there, and to erase what is no card', async (t) => {
    const { at, flash } = bench(t);
    writeFileSync(at('card.img'), 'precious');
    const file = await flash(at('stock.img'), '--out', at('card.img'), '--device', 'den', ...broker);
    assert.match(file.stderr, /target_refused/);
    const card = await flash(
      at('stock.img'),
      '--card',
      at('card.img'),
      '--device',
      'den',
      '--yes',
      ...broker,
    );
    assert.match(card.stderr, /target_refused/);
    assert.deepEqual([file.code, card.code, readFileSync(at('card.img'), 'utf8')], [1, 1, 'precious']);
  });

  test('cloud-init’s files of an image are replaced, and no other', async (t) => {
    const { at, flash } = bench(t, { files: { ...bootFiles, 'config.txt': 'arm_64bit=1\n' } });
    assert.equal(
      (await flash(at('stock.img'), '--out', at('card.img'), '--device', 'den', ...broker)).code,
      0,
    );
    assert.equal(bootFile(at('card.img'), 'config.txt'), 'arm_64bit=1\n');
    assert.notEqual(bootFile(at('card.img'), 'meta-data'), bootFiles['meta-data']);
  });
});
