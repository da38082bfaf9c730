// Brings a fresh checkout to the state a script needs, then runs that script on the pinned Node.
//
// It is plain JavaScript without dependencies, because it must run on whatever Node a machine has
// before anything is installed. `node_modules` is installed from the lock file when the lock file
// has changed since the last install. The script then runs on the Node that ships on devices, which
// npm has just put into `node_modules`; where that has no build (macOS, Windows), on the current one.

import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const stamp = join(root, 'node_modules', '.slmd-lock');
const pinned = join(root, 'node_modules', '.bin', 'node');

const [script, ...rest] = process.argv.slice(2);
if (script === undefined) {
  console.error('usage: node scripts/bootstrap.mjs <script> [arguments]');
  process.exit(2);
}

installIfNeeded();
run();

function installIfNeeded() {
  const lock = createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .digest('hex');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === lock) return;
  console.log('slmd: installing what the lock file names …');
  const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';
  const done = spawnSync(npm, ['ci', '--loglevel=error'], {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  if (done.status !== 0) {
    console.error('slmd: npm ci failed. Check the network and that npm is installed, then run this again.');
    process.exit(1);
  }
  writeFileSync(stamp, lock);
}

function run() {
  const node = existsSync(pinned) ? pinned : process.execPath;
  const env = { ...process.env, PATH: `${dirname(pinned)}:${process.env.PATH}` };
  const child = spawn(node, [join(root, script), ...rest], { stdio: 'inherit', env });
  // Ctrl-C reaches the whole process group: the child decides when to end, this process only waits.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.on(signal, () => {
      if (signal !== 'SIGINT') child.kill(signal);
    });
  }
  child.on('exit', (code, signal) => process.exit(code ?? 128 + (constants.signals[signal] ?? 0)));
}
