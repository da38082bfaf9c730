import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadConfig } from '../../src/config/config.ts';
import { commandMissing } from '../support/mosquitto.ts';
import { temporaryDir } from '../support/temporary.ts';
import { serviceFile, systemdDir, unitSetting } from '../support/unit-file.ts';

const skip = commandMissing('systemd-analyze', ['--version']);

/** Of 10, by the same measure as `systemd-analyze security`: the lower the safer. In tenths. */
const exposureMax = 12;

function analyze(args: string[]) {
  const { status, stdout, stderr } = spawnSync('systemd-analyze', args, { encoding: 'utf8' });
  return { status, output: stdout + stderr };
}

test(`the service's exposure is at most ${exposureMax / 10}`, { skip }, (context) => {
  const args = ['security', '--no-pager', '--offline=true', `--threshold=${exposureMax}`];
  const { status, output } = analyze([...args, serviceFile]);
  assert.equal(status, 0, output);
  // The measure measures: without the system call filter it is above.
  const naked = readFileSync(serviceFile, 'utf8').replaceAll(
    /^(SystemCallFilter|IPAddress|Protect).*\n/gm,
    '',
  );
  const dir = temporaryDir(context, { 'slmd.service': naked });
  assert.equal(analyze([...args, join(dir, 'slmd.service')]).status, 1);
});

test('systemd finds nothing wrong in the units but that the program is not installed here', { skip }, () => {
  for (const unit of ['slmd.service', 'slmd-egress.service', 'slmd-egress.timer']) {
    const { output } = analyze(['verify', '--man=no', join(systemdDir, unit)]);
    const findings = output.split('\n').filter((line) => line.includes('slmd'));
    assert.deepEqual(
      findings.filter((line) => !line.includes('/usr/bin/slmd is not executable')),
      [],
      unit,
    );
  }
});

test('the service keeps what slmd relies on', () => {
  assert.deepEqual(unitSetting('Type'), ['notify']);
  assert.deepEqual(unitSetting('OOMPolicy'), ['continue']);
  assert.deepEqual(unitSetting('IPAddressDeny'), ['any']);
  assert.deepEqual(unitSetting('MemoryDenyWriteExecute'), [], 'V8 is killed by it');
  assert.deepEqual(unitSetting('LoadCredential'), ['slmd:/etc/slmd/credentials']);
});

test('the example configuration is valid as it stands, and changes nothing but the address', () => {
  const sources = {
    env: {},
    board: { model: null, arch: 'x64' },
    profiles_dir: join(systemdDir, '../devices'),
  };
  const { config } = loadConfig({ ...sources, file: join(systemdDir, 'slmd.yaml') });
  assert.deepEqual(config, loadConfig({ ...sources, file: null }).config);
});
