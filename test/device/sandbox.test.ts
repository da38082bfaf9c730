import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { packageRoot } from '../../src/lib/package-root.ts';
import { leash } from '../support/leash.ts';
import { mosquittoMissing, startMosquitto } from '../support/mosquitto.ts';
import { socatMissing, startNotifySocket } from '../support/notify-socket.ts';
import { sandboxed, sandboxMissing } from '../support/sandbox.ts';
import { Stage } from '../support/stage.ts';

const root = packageRoot();
const main = join(root, 'src', 'main.ts');

describe('in the sandbox of slmd.service', {
  skip: sandboxMissing() || mosquittoMissing() || socatMissing(),
}, () => {
  let wrapper: string[];
  let state: string;
  before(() => {
    state = mkdtempSync(join(tmpdir(), 'slmd-sandbox-'));
    const node = realpathSync(process.execPath);
    wrapper = sandboxed({ state, readable: [root, realpathSync(join(root, 'node_modules')), node] });
  });

  after(() => rmSync(state, { recursive: true, force: true }));

  /** Runs a program that prints what an attempt came to. */
  const attempt = (script: string) => {
    const [command = '', ...args] = [...wrapper, process.execPath, '--input-type=module', '-e', script];
    const { stdout, stderr } = spawnSync(command, args, { encoding: 'utf8' });
    return stdout.trim() || stderr;
  };

  test('what the unit forbids fails with a code, and what it allows works', () => {
    const tried = (what: string) =>
      `try { const { writeFileSync, chownSync, readdirSync } = await import('node:fs');
        const { setPriority, networkInterfaces } = await import('node:os'); console.log(${what} ?? 'ok') }
       catch (error) { console.log(error.info?.code ?? error.code ?? error.message) }`;
    // Setting a priority, which is in @resources.
    assert.equal(attempt(tried('setPriority(5)')), 'EPERM');
    // Asking for the interfaces needs a socket of AF_NETLINK.
    assert.match(attempt(tried('networkInterfaces().lo')), new RegExp(` ${constants.errno.EAFNOSUPPORT}$`));
    assert.equal(attempt(tried("writeFileSync('/etc/slmd-was-here', '')")), 'EROFS');
    assert.equal(attempt(tried(`writeFileSync('${join(state, 'file')}', '')`)), 'ok');
    assert.equal(attempt(tried("readdirSync('/root').length + readdirSync('/home').length")), '0');
  });

  test('the daemon takes its password from a credential, loads the shipped model, reports it and answers', async (t) => {
    const stage = new Stage(t);
    const passwords = { kitchen: 'secret', tester: 'tester' };
    const broker = stage.add(await startMosquitto({ passwords }));
    const client = { username: 'tester', password: 'tester' };
    const requester = await stage.requester({ url: broker.url, client });
    const credentials = join(state, 'credentials');
    mkdirSync(credentials, { recursive: true });
    writeFileSync(join(credentials, 'slmd_mqtt-password'), 'secret\n');
    const manager = stage.add(await startNotifySocket(join(state, 'notify')));
    const daemon = stage.add(
      startSandboxed([...wrapper, process.execPath, main, 'run'], {
        PATH: process.env.PATH,
        SLMD_DEVICE: 'kitchen',
        SLMD_MQTT_URL: broker.url,
        STATE_DIRECTORY: join(state, 'journal'),
        CREDENTIALS_DIRECTORY: credentials,
        NOTIFY_SOCKET: join(state, 'notify'),
      }),
    );
    await Promise.race([requester.ready(), daemon.ended]);
    await manager.lines.find((line) => line === 'READY=1', 'systemd is told');
    assert.equal((await requester.info()).engine?.backend, 'native');
    const result = await requester.ask('turn on the kitchen light');
    assert.equal(result.text, '{"action":"turn_on","target":"light","room":"kitchen"}');
  });
});

function startSandboxed(line: string[], env: NodeJS.ProcessEnv) {
  const [command = '', ...args] = [...leash, ...line];
  const child: ChildProcess = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'], env });
  let said = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (said += text));
  const exited = once(child, 'exit');
  const ended = exited.then(([code]) => assert.fail(`the daemon ended with ${code}: ${said}`));
  ended.catch(() => undefined);
  const stop = async () => {
    child.kill('SIGKILL');
    await exited;
  };
  return { ended, stop };
}
