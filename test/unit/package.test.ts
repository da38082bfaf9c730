import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Compression, debOf, type Package } from '../../scripts/package/deb.ts';
import { changelogOf } from '../../scripts/package/documents.ts';
import { manPageOf } from '../../scripts/package/man-page.ts';
import { isNeeded, lockedPackages } from '../../scripts/package/runtime-tree.ts';
import { sbomOf } from '../../scripts/package/sbom.ts';
import { type Entry, tarOf } from '../../scripts/package/tar.ts';
import { commandMissing } from '../support/mosquitto.ts';
import { temporaryDir } from '../support/temporary.ts';

const file = (path: string, text: string, mode?: number): Entry => ({
  kind: 'file',
  path,
  bytes: Buffer.from(text),
  ...(mode === undefined ? {} : { mode }),
});
const deep = `usr/lib/${'long-directory/'.repeat(8)}file-with-a-name`;
const entries: Entry[] = [
  file('usr/bin/tool', '#!/bin/sh\n', 0o755),
  file('etc/tool/conf', 'a: b\n'),
  file(deep, 'x'.repeat(511)),
  file('usr/lib/exactly', 'x'.repeat(512)),
  file('usr/lib/empty', ''),
  { kind: 'directory', path: 'etc/tool/secret', mode: 0o700 },
];
const pack: Package = {
  architecture: 'arm64',
  control: { Package: 'tool', Version: '1.0', Maintainer: 'a <a@example.invalid>', Description: 'a tool' },
  scripts: { postinst: '#!/bin/sh\nset -e\n' },
  conffiles: ['/etc/tool/conf'],
  entries,
  modified_s: 1_700_000_000,
};
const skip = commandMissing('dpkg-deb', ['--version']) || commandMissing('xz', ['--version']);

for (const compression of ['xz', 'zstd'] satisfies Compression[])
  test(`dpkg reads a package that is compressed with ${compression}: every file, mode, owner and field`, {
    skip,
  }, async (context) => {
    const path = join(temporaryDir(context), 'tool.deb');
    writeFileSync(path, await debOf(pack, compression));
    const dpkg = (...args: string[]) => {
      const { status, stdout, stderr } = spawnSync('dpkg-deb', args, {
        encoding: 'utf8',
        env: { ...process.env, TZ: 'UTC' },
      });
      assert.equal(status, 0, stderr);
      return stdout;
    };
    const listed = dpkg('-c', path)
      .trim()
      .split('\n')
      .map((line) => line.split(/\s+/));
    const found = listed.map(([mode, owner, size, , , name]) => [mode, owner, size, name].join(' '));
    for (const line of [
      'drwxr-xr-x root/root 0 ./',
      'drwxr-xr-x root/root 0 ./etc/',
      'drwx------ root/root 0 ./etc/tool/secret/',
      '-rw-r--r-- root/root 5 ./etc/tool/conf',
      '-rwxr-xr-x root/root 10 ./usr/bin/tool',
      `-rw-r--r-- root/root 511 ./${deep}`,
      '-rw-r--r-- root/root 512 ./usr/lib/exactly',
      '-rw-r--r-- root/root 0 ./usr/lib/empty',
    ])
      assert.ok(found.includes(line), `${line}\n${found.join('\n')}`);
    assert.deepEqual(new Set(listed.map(([, , , day]) => day)), new Set(['2023-11-14']));
    assert.match(
      dpkg('-f', path),
      /^Package: tool\nVersion: 1\.0\n[\s\S]*Architecture: arm64\nInstalled-Size: 4\nDescription: a tool\n$/,
    );
    assert.equal(dpkg('--ctrl-tarfile', path).includes('/etc/tool/conf'), true);
  });

test('the same entries give the same bytes, in whatever order they come', async () => {
  const reversed = { ...pack, entries: [...entries].reverse() };
  assert.deepEqual(await debOf(pack, 'zstd'), await debOf(reversed, 'zstd'));
  const later = { ...pack, modified_s: pack.modified_s + 1 };
  assert.notDeepEqual(await debOf(pack, 'zstd'), await debOf(later, 'zstd'));
});

test('a path that the tar format has no room for is an error, and not cut off', () => {
  assert.throws(() => tarOf([file('x'.repeat(120), '')], 0), /too long/);
  assert.throws(() => tarOf([file(`${'d/'.repeat(140)}f`, '')], 0), /too long/);
});

test('of the packages with native code, what runs on the target is kept and nothing else', () => {
  const kept = [
    'onnxruntime-node/package.json',
    'onnxruntime-node/dist/index.js',
    'onnxruntime-node/bin/napi-v6/linux/arm64/libonnxruntime.so.1',
    'onnxruntime-common/package.json',
    'onnxruntime-common/dist/cjs/index.js',
    'koffi/index.js',
    'koffi/src/koffi/index.cjs',
    '@koromix/koffi-linux-arm64/linux_arm64/koffi.node',
  ];
  const left = [
    'onnxruntime-node/bin/napi-v6/linux/x64/libonnxruntime.so.1',
    'onnxruntime-node/bin/napi-v6/darwin/arm64/onnxruntime_binding.node',
    'onnxruntime-node/script/install.js',
    'onnxruntime-node/lib/index.ts',
    'onnxruntime-common/lib/index.ts',
    'onnxruntime-node/dist/index.js.map',
    'koffi/src/koffi/ffi.cc',
    'koffi/vendor/node-addon-api/napi.h',
    '@koromix/koffi-linux-arm64/musl_arm64/koffi.node',
  ];
  const needed = (path: string) => isNeeded(path, 'arm64');
  assert.deepEqual([kept.filter((path) => !needed(path)), left.filter(needed)], [[], []]);
});

test('the manual says what the help says, and no line of it is taken for a command', () => {
  const help = {
    general:
      'slmd 1.0: a model\n\nusage: slmd <command>\n\n  run   run it\n\nslmd <command> --help says more.\nExit codes: 0 ok.',
    commands: {
      run: 'slmd run [--config <file>]\n\nRuns it.\n.not a command\n\n  --config <file>  the file\\path',
    },
  };
  const page = manPageOf(help, '1.0', '2026-01-02');
  assert.match(page, /^\.TH SLMD 1 "2026-01-02" "slmd 1\.0" "slmd"\n\.SH NAME\nslmd \\- a model\n/);
  assert.match(
    page,
    /\.SS slmd run\n\.B slmd run \[\\-\\-config <file>\]\n\.PP\nRuns it\.\n\\&\.not a command\n/,
  );
  assert.match(page, /\.TP\n\.B \\-\\-config <file>\nthe file\\epath\n/);
  assert.match(page, /\.SH EXIT STATUS\nExit codes: 0 ok\.\n/);
});

test('the list of contents names a package as the lock file does, with its hash', () => {
  const locked = lockedPackages();
  const packages = [
    locked.get('onnxruntime-node') ?? assert.fail(),
    locked.get('@huggingface/jinja') ?? assert.fail(),
  ];
  const model = { id: 'm', sha256: 'ab', license: 'Apache-2.0' };
  const bom = JSON.parse(sbomOf({ version: '1.0', timestamp: '2026-01-02T00:00:00Z', packages, model }));
  assert.deepEqual([bom.bomFormat, bom.specVersion, bom.components.length], ['CycloneDX', '1.6', 3]);
  const [runtime, jinja] = bom.components;
  assert.equal(runtime.purl, `pkg:npm/onnxruntime-node@${packages[0]?.version}`);
  assert.equal(runtime.hashes[0].alg, 'SHA-512');
  assert.match(runtime.hashes[0].content, /^[0-9a-f]{128}$/);
  assert.match(jinja.purl, /^pkg:npm\/%40huggingface\/jinja@/);
  assert.deepEqual(bom.dependencies[0].dependsOn.length, 3);
});

test('the changelog has the form that Debian wants, of the newest changes alone', () => {
  const text =
    '# Changelog\n\n## Unreleased\n\nWords.\n\n- **A**: one\n  and two.\n- B.\n\n## 0.1.0\n\n- Old.\n';
  assert.equal(
    changelogOf(text, '0.2.0', 0),
    'slmd (0.2.0) unstable; urgency=medium\n\n  * A: one and two.\n  * B.\n\n -- slmd <slmd@example.invalid>  Thu, 01 Jan 1970 00:00:00 +0000\n',
  );
});
