import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import { newerVersion, olderVersion, testPackage } from '../../scripts/device/packages.ts';
import { BoardRoot } from '../support/board-root.ts';
import { type Mosquitto, startMosquitto } from '../support/mosquitto.ts';
import { TestRequester } from '../support/requester.ts';
import { contacts, tracing } from '../support/strace.ts';
import { upgradeUnderLoad } from '../support/upgrade.ts';
import { inTime } from '../support/wait.ts';

/** Emulated, and beside other work: a model that loads in a second takes many here. */
const patience = { ms: 600_000 };
const prompt = 'turn on the kitchen light';
const answer = '{"action":"turn_on","target":"light","room":"kitchen"}';

/** One life of the package on one board, in order. */
describe('the package in an arm64 Debian, with its broker on the host', { concurrency: false }, () => {
  let board: BoardRoot;
  let broker: Mosquitto;
  let requester: TestRequester;
  before(async () => {
    board = new BoardRoot();
    broker = await startMosquitto({ config: 'persistence true' });
    requester = await TestRequester.connect({ url: broker.url });
    for (const version of [olderVersion, newerVersion]) board.put(testPackage(version), `${version}.deb`);
  });
  after(async () => {
    board?.run('systemctl', 'stop', 'slmd.service');
    await requester?.close();
    await broker?.stop();
    board?.remove();
  });

  test('is installed where systemd does not run, as in an image that is built, and is enabled for the first boot', () => {
    const { status, output } = board.run('dpkg', '-i', `/${olderVersion}.deb`);
    assert.equal(status, 0, output);
    assert.ok(board.has('etc/systemd/system/multi-user.target.wants') && !board.has('run/slmd.pid'));
    assert.deepEqual(board.run('slmd', '--version'), { status: 0, output: `${olderVersion}\n` });
    assert.equal(board.run('slmd', 'config', 'check').status, 0);
    assert.equal(board.run('stat', '-c', '%a', '/etc/slmd/credentials').output, '700\n');
    assert.equal(board.run('dpkg', '--verify', 'slmd').output, '');
  });

  test('no process of it contacts anybody but its broker', async (t) => {
    const shipped = board.read('etc/slmd/slmd.yaml');
    const configured = shipped.replace(/^ {2}url: .*$/m, `  url: ${broker.url}`);
    board.write('etc/slmd/slmd.yaml', `${configured}\ndevice: kitchen\n`);
    const trace = board.at('trace');
    const daemon = board.start(
      ['env', 'STATE_DIRECTORY=/var/lib/slmd', 'CACHE_DIRECTORY=/var/cache/slmd', 'slmd', 'run'],
      tracing(trace),
    );
    t.after(() => daemon.kill('SIGKILL'));
    await requester.ready(patience);
    assert.equal((await requester.ask(prompt)).text, answer);
    const exited = once(daemon, 'exit');
    daemon.kill('SIGTERM');
    await inTime(exited, 'the daemon ends', patience.ms);
    const contacted = new Set(await contacts(trace, daemon.pid as number));
    assert.deepEqual(
      [...contacted].filter((to) => !to.startsWith('unix ')),
      [`inet 127.0.0.1:${broker.port}`],
    );
  });

  test('answers as the service, through the native backend of an arm64 board', async () => {
    const since = requester.heard.mark;
    board.bootSystemd();
    board.run('systemctl', 'start', 'slmd.service');
    await requester.ready({ since, ...patience });
    const info = await requester.info({ since, ...patience });
    assert.deepEqual(
      [info.version, info.board.arch, info.engine?.backend],
      [olderVersion, 'arm64', 'native'],
    );
    const id = await requester.send({ id: 'before-the-upgrade', prompt });
    assert.equal((await requester.result(id, patience)).text, answer);
  });

  test('an upgrade over a running version loses no prompt, and keeps configuration and journal', async () => {
    const before = requester.heard.mark;
    const configuration = board.read('etc/slmd/slmd.yaml');
    const line = `dpkg -i --force-confold /${newerVersion}.deb >/upgrade.log 2>&1`;
    const install = async () => {
      const [code] = await inTime(once(board.start(['sh', '-c', line]), 'exit'), line, patience.ms);
      assert.equal(code, 0, board.read('upgrade.log'));
    };
    await upgradeUnderLoad({ requester, broker, install, patience });
    assert.equal((await requester.info({ since: before, ...patience })).version, newerVersion);
    assert.equal(board.read('etc/slmd/slmd.yaml'), configuration);
    // The journal of the older version answers for it.
    const since = requester.heard.mark;
    await requester.send({ id: 'before-the-upgrade', prompt: 'something else' });
    assert.equal((await requester.result('before-the-upgrade', { since, ...patience })).text, answer);
  });

  test('is removed, and what a person has made stays', () => {
    const { status, output } = board.run('dpkg', '-r', 'slmd');
    assert.equal(status, 0, output);
    assert.equal(board.run('systemctl', 'is-active', 'slmd.service').status, 1);
    assert.ok(!board.has('usr/lib/slmd') && !board.has('usr/bin/slmd'));
    assert.ok(board.has('etc/slmd/slmd.yaml') && board.has('var/lib/slmd'));
  });

  test('is purged, and nothing of it stays', () => {
    const { status, output } = board.run('dpkg', '-P', 'slmd');
    assert.equal(status, 0, output);
    const { stdout } = spawnSync('find', [board.dir, '-name', '*slmd*'], { encoding: 'utf8' });
    const mine = ['run/slmd.pid', 'run/slmd.log'].map((path) => board.at(path));
    assert.deepEqual(
      stdout.split('\n').filter((path) => path !== '' && path !== board.dir && !mine.includes(path)),
      [],
    );
  });
});
