import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { globSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { buildAll } from '../build.ts';
import type { Architecture } from './deb.ts';
import { changelogOf, copyrightOf } from './documents.ts';
import { type Help, manPageOf } from './man-page.ts';
import {
  installTree,
  type LockedPackage,
  lockedPackages,
  nativePackages,
  nodePackage,
  runtimeFiles,
} from './runtime-tree.ts';
import { sbomOf } from './sbom.ts';
import type { Entry } from './tar.ts';

const root = join(import.meta.dirname, '..', '..');
const home = 'usr/lib/slmd';
const documents = 'usr/share/doc/slmd';
const shippedModel = 'models/slmd-home-3m/int4';

export interface Release {
  version: string;
  /** Seconds since 1970. */
  modified_s: number;
}

/** Every file of the package, and where it goes. */
export async function contentsOf(architecture: Architecture, release: Release): Promise<Entry[]> {
  const tree = installTree(architecture);
  const dist = mkdtempSync(join(tmpdir(), 'slmd-dist-'));
  try {
    const bundled = await buildAll(dist, release.version);
    const inside = packagesInside(architecture, bundled);
    return [
      ...runtime(tree, architecture),
      ...directory(dist, `${home}/dist`),
      ...directory(join(root, 'devices'), `${home}/devices`),
      ...directory(join(root, shippedModel), `${home}/${shippedModel}`),
      file(`${home}/models/slmd-home-3m/README.md`, read('models/slmd-home-3m/README.md')),
      file(`${home}/package.json`, `{ "name": "slmd", "version": "${release.version}", "type": "module" }\n`),
      file('usr/bin/slmd', `#!/bin/sh\nexec /${home}/bin/node /${home}/dist/slmd.js "$@"\n`, 0o755),
      ...service(),
      ...documentation(dist, release, inside, [tree, join(root, 'node_modules')]),
    ];
  } finally {
    rmSync(dist, { recursive: true });
  }
}

function runtime(tree: string, architecture: Architecture): Entry[] {
  const node = readFileSync(join(tree, nodePackage(architecture), 'bin', 'node'));
  const modules = runtimeFiles(tree, architecture).map((path) =>
    file(`${home}/node_modules/${path}`, readFileSync(join(tree, path))),
  );
  return [file(`${home}/bin/node`, node, 0o755), ...modules];
}

/** Where each file of `systemd/` goes; its README has the same table. */
function service(): Entry[] {
  const places = {
    'slmd.service': 'usr/lib/systemd/system/slmd.service',
    'slmd-egress.service': 'usr/lib/systemd/system/slmd-egress.service',
    'slmd-egress.timer': 'usr/lib/systemd/system/slmd-egress.timer',
    'slmd.sysusers': 'usr/lib/sysusers.d/slmd.conf',
    'slmd.tmpfiles': 'usr/lib/tmpfiles.d/slmd.conf',
    'slmd.yaml': 'etc/slmd/slmd.yaml',
    'README.md': `${documents}/README.systemd.md`,
    'mosquitto/mosquitto.conf': `${documents}/examples/mosquitto/mosquitto.conf`,
    'mosquitto/acl': `${documents}/examples/mosquitto/acl`,
  };
  return [
    { kind: 'directory', path: 'etc/slmd/credentials', mode: 0o700 },
    ...Object.entries(places).map(([from, to]) => file(to, read(`systemd/${from}`))),
    file(`${documents}/examples/mosquitto/certificates.sh`, read('systemd/mosquitto/certificates.sh'), 0o755),
  ];
}

function documentation(
  dist: string,
  { version, modified_s }: Release,
  packages: LockedPackage[],
  trees: string[],
): Entry[] {
  const manifest = read(`${shippedModel}/slmd-model.json`);
  const { id } = JSON.parse(manifest.toString()) as { id: string };
  const timestamp = new Date(modified_s * 1000).toISOString().replace('.000', '');
  const sha256 = createHash('sha256').update(manifest).digest('hex');
  const page = manPageOf(helpOf(join(dist, 'slmd.js')), version, timestamp.slice(0, 10));
  return [
    file('usr/share/man/man1/slmd.1.gz', gzip(page)),
    file('usr/share/lintian/overrides/slmd', read('scripts/package/debian/lintian-overrides')),
    file(`${documents}/CONTRACT.md`, read('src/contract/CONTRACT.md')),
    file(
      `${documents}/changelog.gz`,
      gzip(changelogOf(read('CHANGELOG.md').toString(), version, modified_s)),
    ),
    file(`${documents}/copyright`, copyrightOf(packages, trees)),
    file(
      `${documents}/sbom.cdx.json`,
      sbomOf({ version, timestamp, packages, model: { id, sha256, license: 'Apache-2.0' } }),
    ),
  ];
}

/** What is in the package: Node, what has native code, and what esbuild has put into the bundle. */
function packagesInside(architecture: Architecture, bundled: string[]): LockedPackage[] {
  const locked = lockedPackages();
  const names = new Set([nodePackage(architecture), ...nativePackages(architecture), ...bundled]);
  return [...names].sort().map((path) => {
    const found = locked.get(path);
    if (found === undefined) throw new Error(`the lock file does not name ${path}, which is in the package`);
    return found;
  });
}

/** The commands say of themselves what the manual says of them. */
function helpOf(program: string): Help {
  const help = (...args: string[]) =>
    spawnSync(process.execPath, [program, ...args, '--help'], { encoding: 'utf8' }).stdout.trimEnd();
  const general = help();
  const names = [...general.matchAll(/^ {2}(\w+) {2,}/gm)].map(([, name = '']) => name);
  return { general, commands: Object.fromEntries(names.map((name) => [name, help(name)])) };
}

function directory(from: string, to: string): Entry[] {
  return globSync('**/*', { cwd: from })
    .filter((path) => statSync(join(from, path)).isFile())
    .map((path) => {
      const executable = (statSync(join(from, path)).mode & 0o100) !== 0;
      return file(`${to}/${path}`, readFileSync(join(from, path)), executable ? 0o755 : 0o644);
    });
}

function file(path: string, content: Buffer | string, mode?: number): Entry {
  const bytes = typeof content === 'string' ? Buffer.from(content) : content;
  return { kind: 'file', path, bytes, ...(mode === undefined ? {} : { mode }) };
}

function gzip(text: string): Buffer {
  return gzipSync(text, { level: 9 });
}

function read(path: string): Buffer {
  return readFileSync(join(root, path));
}

/** The maintainer scripts by name. */
export function maintainerScripts(): Record<string, string> {
  const names = readdirSync(join(root, 'scripts/package/debian')).filter((name) =>
    /^(pre|post)(inst|rm)$/.test(name),
  );
  return Object.fromEntries(names.map((name) => [name, read(`scripts/package/debian/${name}`).toString()]));
}
