import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { oomKillsOfMachine, oomKillsOfService } from '../../src/lib/oom-kills.ts';
import { temporaryDir } from '../support/temporary.ts';

const events = (kills: number) => `low 0\nhigh 0\nmax 7\noom 3\noom_kill ${kills}\noom_group_kill 0\n`;
const machine = { 'proc/vmstat': 'nr_free_pages 1\noom_kill 40\n' };

test('kills are counted in the service’s own control group, whatever else on the machine is killed', (t) => {
  const unit = 'sys/fs/cgroup/system.slice/slmd.service/memory.events';
  const dir = temporaryDir(t, {
    ...machine,
    'proc/self/cgroup': '0::/system.slice/slmd.service\n',
    [unit]: events(2),
  });
  const kills = oomKillsOfService(dir);
  assert.equal(kills(), 2);
  writeFileSync(join(dir, 'proc/vmstat'), 'oom_kill 41\n');
  assert.equal(kills(), 2);
  writeFileSync(join(dir, unit), events(3));
  assert.equal(kills(), 3);
  assert.equal(oomKillsOfMachine(dir)(), 41);
});

test('where no group counts, the machine’s kills are what is known, else nothing is', (t) => {
  for (const files of [
    {},
    // The root of all groups, which counts nothing.
    { 'proc/self/cgroup': '0::/\n' },
    // cgroup version 1, with version 2 beside it for names only.
    { 'proc/self/cgroup': '4:memory:/slmd\n0::/slmd\n', 'sys/fs/cgroup/unified/slmd/cgroup.procs': '' },
    // Memory is not counted by group: cgroup_disable=memory.
    { 'proc/self/cgroup': '0::/slmd\n', 'sys/fs/cgroup/slmd/cgroup.procs': '' },
  ]) {
    assert.equal(oomKillsOfService(temporaryDir(t, { ...machine, ...files }))(), 40);
    assert.equal(oomKillsOfService(temporaryDir(t, files))(), null);
  }
});

test('a group that begins to count meanwhile is not compared with the machine', (t) => {
  const dir = temporaryDir(t, {
    ...machine,
    'proc/self/cgroup': '0::/slmd\n',
    'sys/fs/cgroup/slmd/cgroup.procs': '',
  });
  const kills = oomKillsOfService(dir);
  writeFileSync(join(dir, 'sys/fs/cgroup/slmd/memory.events'), events(0));
  assert.equal(kills(), 40);
});
