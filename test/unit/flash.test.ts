import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { withParameter } from '../../src/flash/card.ts';
import { cleanUserData, firstBootScript } from '../../src/flash/first-boot.ts';
import { type BlockDevice, cardRefusal } from '../../src/flash/target.ts';
import { temporaryDir } from '../support/temporary.ts';

const card: BlockDevice = {
  path: '/dev/sdb',
  type: 'disk',
  size: 32e9,
  ro: false,
  model: 'SD Card Reader',
  mountpoints: [null],
  children: [
    { path: '/dev/sdb1', type: 'part', size: 5e8, ro: false, model: null, mountpoints: [null] },
    { path: '/dev/sdb2', type: 'part', size: 3e10, ro: false, model: null, mountpoints: [null] },
  ],
};

function mountedAt(where: string): BlockDevice {
  const [boot, root] = card.children!;
  return { ...card, children: [boot!, { ...root!, mountpoints: [where] }] };
}

test('a card that nobody uses and that is large enough may be erased', () => {
  assert.equal(cardRefusal(card, 4e9), null);
});

test('a disk that is used, read-only, too small or a part of one may not be erased', () => {
  const refused = [
    mountedAt('/media/me/rootfs'),
    mountedAt('/'),
    mountedAt('[SWAP]'),
    { ...card, ro: true },
    { ...card, size: 1e9 },
    { ...card, type: 'part' },
  ];
  for (const device of refused) assert.notEqual(cardRefusal(device, 4e9), null);
});

test('a disk below an encrypted one that is mounted may not be erased', () => {
  const crypt = { ...card, path: '/dev/mapper/x', type: 'crypt', mountpoints: ['/home'] };
  assert.notEqual(
    cardRefusal({ ...card, children: [{ ...card.children![0]!, children: [crypt] }] }, 4e9),
    null,
  );
});

test('the kernel’s command line gets the parameter once, on its one line', () => {
  const once = withParameter('console=tty1 rootwait\n');
  assert.equal(once, 'console=tty1 rootwait cgroup_enable=memory\n');
  assert.equal(withParameter(once), once);
});

test('the first boot installs the package and leaves nothing secret on the boot partition, also where it fails', (t) => {
  for (const dpkg of [0, 1]) {
    const dir = temporaryDir(t, {
      'firmware/user-data': 'password: hunter2\n',
      'firmware/network-config': 'wifi: hunter2\n',
      'firmware/slmd.deb': 'a package',
      'firmware/model/model.onnx': 'weights',
      'bin/dpkg': `#!/bin/sh\necho "$@" >>"$LOG"\nexit ${dpkg}\n`,
      'bin/systemctl': '#!/bin/sh\necho "$@" >>"$LOG"\n',
    });
    const at = (name: string) => join(dir, name);
    for (const name of ['dpkg', 'systemctl']) chmodSync(at(`bin/${name}`), 0o755);
    mkdirSync(at('models'));
    const script = firstBootScript({
      package_name: 'slmd.deb',
      model: 'model',
      models_directory: at('models'),
      ssh: true,
      clean_user_data: cleanUserData('den', []),
    });
    // The same script, in a house of its own.
    writeFileSync(
      at('first-boot'),
      script.replaceAll('/boot/firmware', at('firmware')).replace('/var/log/slmd-first-boot.log', at('out')),
    );
    const env = { PATH: `${at('bin')}:${process.env.PATH}`, LOG: at('log') };
    const { status } = spawnSync('sh', [at('first-boot')], { env });
    assert.equal(status, dpkg);
    assert.match(readFileSync(at('log'), 'utf8'), /-i .*slmd\.deb/);
    assert.equal(/enable --now slmd/.test(readFileSync(at('log'), 'utf8')), dpkg === 0);
    assert.match(readFileSync(at('firmware/user-data'), 'utf8'), /^#cloud-config\nhostname: den\n/);
    for (const name of ['user-data', 'network-config'])
      assert.doesNotMatch(readFileSync(at(`firmware/${name}`), 'utf8'), /hunter2/);
    for (const gone of ['firmware/slmd.deb', 'firmware/model', 'first-boot'])
      assert.ok(!existsSync(at(gone)), gone);
    assert.equal(readFileSync(at('models/model/model.onnx'), 'utf8'), 'weights');
  }
});
