import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, globSync, mkdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { Architecture } from './deb.ts';

const root = join(import.meta.dirname, '..', '..');
const npmArch = { arm64: 'arm64', amd64: 'x64' } as const;

/** Where builds keep what is expensive to make, outside the tree. */
export function cacheDirectory(): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'slmd');
}

export interface LockedPackage {
  name: string;
  version: string;
  license: string;
  /** Subresource integrity, as the lock file has it. */
  integrity: string;
}

/** What the lock file says of the packages in `node_modules`, by name. */
export function lockedPackages(): Map<string, LockedPackage> {
  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { version: string; license?: string; integrity?: string }>;
  };
  const entries = Object.entries(lock.packages).filter(([path]) => path.startsWith('node_modules/'));
  return new Map(
    entries.map(([path, { version, license = 'NOASSERTION', integrity = '' }]) => {
      const name = path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length);
      return [path.slice('node_modules/'.length), { name, version, license, integrity }];
    }),
  );
}

/**
 * `node_modules` of the target, from the lock file and with its hashes checked, as npm would install it
 * there. Made once for each lock file and architecture.
 */
export function installTree(architecture: Architecture): string {
  const lock = createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .digest('hex');
  const dir = join(cacheDirectory(), 'tree', `${architecture}-${lock.slice(0, 16)}`);
  const whole = () => existsSync(join(dir, 'node_modules', nodePackage(architecture), 'bin', 'node'));
  if (whole()) return join(dir, 'node_modules');
  // Whoever clears the cache may have left a part of it.
  rmSync(dir, { recursive: true, force: true });
  const making = `${dir}.${process.pid}`;
  mkdirSync(making, { recursive: true });
  try {
    for (const file of ['package.json', 'package-lock.json', '.npmrc'])
      cpSync(join(root, file), join(making, file));
    const target = [`--cpu=${npmArch[architecture]}`, '--os=linux', '--libc=glibc'];
    const args = ['ci', '--omit=dev', '--ignore-scripts', '--loglevel=error', ...target];
    const { status } = spawnSync('npm', args, { cwd: making, stdio: ['ignore', 'ignore', 'inherit'] });
    if (status !== 0) throw new Error(`npm ci for ${architecture} ended with ${status}`);
    if (!existsSync(dir)) renameSync(making, dir);
    if (!whole()) throw new Error(`npm ci for ${architecture} has left Node out`);
  } finally {
    rmSync(making, { recursive: true, force: true });
  }
  return join(dir, 'node_modules');
}

/** Node's own file of this architecture, in an installed tree. */
export function nodePackage(architecture: Architecture): string {
  return `node-linux-${npmArch[architecture]}`;
}

/** The packages that have native code, with the package of the native code where that is one of its own. */
export function nativePackages(architecture: Architecture): string[] {
  const { dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    dependencies: Record<string, string>;
  };
  const koffi = 'koffi' in dependencies ? [`@koromix/koffi-linux-${npmArch[architecture]}`] : [];
  return [...Object.keys(dependencies), ...koffi].sort();
}

/** The files of an installed tree that run on a device, relative to it. */
export function runtimeFiles(tree: string, architecture: Architecture): string[] {
  return nativePackages(architecture)
    .flatMap((name) => globSync(`${name}/**/*`, { cwd: tree }))
    .filter((path) => isNeeded(path, architecture) && statSync(join(tree, path)).isFile())
    .sort();
}

/**
 * Whether a file of these packages is read when they run. ONNX Runtime's package brings its libraries for
 * every platform and what its install script needs; koffi's brings one for musl, its source and its manual.
 */
export function isNeeded(path: string, architecture: Architecture): boolean {
  if (/\.(map|md|d\.ts|d\.cts|d\.mts|ts)$/.test(path)) return false;
  if (path.startsWith('onnxruntime-node/'))
    return (
      /^onnxruntime-node\/(package\.json|LICENSE.*|dist\/.*)$/.test(path) ||
      path.startsWith(`onnxruntime-node/bin/napi-v6/linux/${npmArch[architecture]}/`)
    );
  if (path.startsWith('onnxruntime-common/')) return !path.startsWith('onnxruntime-common/lib/');
  if (path.startsWith('koffi/'))
    return (
      /\.(js|cjs|json|txt)$/.test(path) &&
      !/^koffi\/(doc|lib|vendor)\/|CMakeLists|cnoke|trampolines/.test(path)
    );
  return !path.includes('/musl_');
}
