import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { PeerPackages } from './peers.ts';

/**
 * Installs a peer's packages, by their exact versions, into a folder of the cache; no script of theirs runs.
 *
 * @returns the folder
 * @throws what npm said last
 */
export async function installPeer(
  cache: string,
  { folder, packages, omitOptional }: PeerPackages,
): Promise<string> {
  const dir = join(cache, folder);
  const stamp = join(dir, 'installed');
  const wanted = packages.join('\n');
  if (existsSync(stamp) && (await readFile(stamp, 'utf8')) === wanted) return dir;
  await mkdir(dir, { recursive: true });
  await writeFile(join(dir, 'package.json'), '{ "private": true }\n');
  const options = ['--ignore-scripts', '--no-audit', '--no-fund', '--save-exact', '--loglevel=error'];
  if (omitOptional) options.push('--omit=optional');
  const { status, stderr } = spawnSync('npm', ['install', ...options, ...packages], {
    cwd: dir,
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`npm install ${packages.join(' ')}: ${stderr.trim().split('\n')[0]}`);
  await writeFile(stamp, wanted);
  return dir;
}
