import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { build } from 'esbuild';
import { type Emulator, emulator } from '../../scripts/device/emulator.ts';
import { architectures, olderVersion, sha256Of, testPackage } from '../../scripts/device/packages.ts';
import type { Answers } from '../support/answers.ts';

const here = import.meta.dirname;
const golden = JSON.parse(readFileSync(join(here, '../golden/shipped-model.json'), 'utf8')) as Answers;

for (const arch of architectures)
  test(`a package for ${arch} that is built twice is the same, byte for byte`, () => {
    const [first, again] = (['first', 'again'] as const).map((build) =>
      testPackage(olderVersion, arch, build),
    );
    assert.notEqual(first, again);
    assert.equal(sha256Of(first as string), sha256Of(again as string));
  });

// A checker of Debian's own packages brings a hundred others, and is not installed for this.
const unchecked =
  spawnSync('lintian', ['--version']).error === undefined ? false : 'lintian is not installed';

for (const arch of architectures)
  test(`lintian finds nothing that the package for ${arch} does not explain`, { skip: unchecked }, () => {
    // What it takes for malformed is zstd, which dpkg has long read; releases are compressed with xz.
    const args = ['--allow-root', '--suppress-tags', 'malformed-deb-archive', '--fail-on', 'error,warning'];
    const { status, stdout } = spawnSync('lintian', [...args, testPackage(olderVersion, arch)], {
      encoding: 'utf8',
    });
    assert.equal(status, 0, stdout);
  });

/** Emulation shows what is computed, and nothing of how fast a board is. */
describe('the programs of the package for arm64, emulated', () => {
  let unpacked: string;
  let home: string;
  let emulated: Emulator;
  before(async () => {
    emulated = emulator();
    unpacked = mkdtempSync(join(tmpdir(), 'slmd-arm64-'));
    spawnSync('dpkg-deb', ['-x', testPackage(olderVersion), unpacked]);
    home = join(unpacked, 'usr/lib/slmd');
    await build({
      entryPoints: [join(here, '../support/answers.ts')],
      outfile: join(home, 'dist/answers.js'),
      bundle: true,
      format: 'esm',
      platform: 'node',
      target: 'node24',
      external: ['onnxruntime-node', 'koffi'],
      banner: {
        js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);",
      },
    });
  });
  after(() => rmSync(unpacked, { recursive: true, force: true }));

  const node = (core: string, args: string[]) => {
    const program = ['-cpu', core, '-L', emulated.sysroot, join(home, 'bin/node'), ...args];
    const { status, stdout, stderr } = spawnSync(emulated.qemu, program, { encoding: 'utf8' });
    assert.equal(status, 0, stderr);
    return stdout;
  };

  test('the command line says its version', () => {
    assert.equal(node('cortex-a72', [join(home, 'dist/slmd.js'), '--version']), `${olderVersion}\n`);
  });

  // Without the dot product (A72) ONNX Runtime computes int4 in float32, with it (A76) in int8, and on x86-64 in
  // int8 with other roundings. The answers of the model that ships are the same token for token.
  for (const [core, backend] of [
    ['cortex-a72', 'native'],
    ['cortex-a76', 'native'],
    ['cortex-a76', 'node'],
  ] as const)
    test(`on a ${core} through the ${backend} backend, the shipped model answers token for token as on x86-64`, () => {
      const prompts = JSON.stringify(golden.answers.map(({ prompt }) => prompt));
      const said = node(core, [join(home, 'dist/answers.js'), backend, prompts]);
      const { arch, runtime, sha256, answers } = JSON.parse(said) as Answers;
      assert.deepEqual([arch, runtime?.backend, sha256], ['arm64', backend, golden.sha256]);
      assert.deepEqual(answers, golden.answers);
    });
});
