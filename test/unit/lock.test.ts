import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { lockDirectory } from '../../src/journal/lock.ts';
import { momentNow } from '../../src/journal/moment.ts';
import { temporaryDir } from '../support/temporary.ts';

const { boot_id } = momentNow();

test('a directory is one process’s, until that gives it back', (t) => {
  const dir = temporaryDir(t);
  const unlock = lockDirectory(dir, boot_id);
  assert.ok(existsSync(join(dir, 'lock')));
  unlock();
  unlock();
  assert.ok(!existsSync(join(dir, 'lock')));
});

test('a lock holds while its process lives, and neither after a kill, nor after a boot, nor for another process with its number', async (t) => {
  const dir = temporaryDir(t);
  const source = JSON.stringify(join(import.meta.dirname, '..', '..', 'src', 'journal', 'lock.ts'));
  const program = `import { lockDirectory } from ${source};
    lockDirectory(${JSON.stringify(dir)}, ${JSON.stringify(boot_id)});
    process.stdout.write('locked'); setInterval(() => {}, 1e6);`;
  const holder = spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: 'pipe' });
  t.after(() => holder.kill('SIGKILL'));
  await once(holder.stdout, 'data');
  const file = join(dir, 'lock');
  const held = readFileSync(file, 'utf8');
  assert.throws(() => lockDirectory(dir, boot_id), { code: 'journal_in_use' });
  assert.equal(readFileSync(file, 'utf8'), held);

  const [number, boot] = held.split(' ');
  writeFileSync(file, `${number} ${boot?.trim()} 7\n`);
  lockDirectory(dir, boot_id)();
  writeFileSync(file, held);
  lockDirectory(dir, 'another boot')();
  writeFileSync(file, held);
  holder.kill('SIGKILL');
  await once(holder, 'exit');
  lockDirectory(dir, boot_id)();
});
