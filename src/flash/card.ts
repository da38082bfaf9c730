import { randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { messageOf } from '../lib/errors.ts';
import { megabytes } from '../lib/megabytes.ts';
import type { BoardPlan } from './boards.ts';
import { FlashError } from './errors.ts';
import type { FatFile } from './fat.ts';
import { type Secrets, seedOf } from './seed.ts';

/** What goes onto every card besides its own plan. */
export interface Load {
  /** slmd's package, a .deb for arm64. */
  package_file: string;
  /** A model directory; null for the model that is in the package. */
  model_dir: string | null;
}

/** Raspberry Pi OS boots with memory cgroups off: then the unit's bounds would not bind. */
const kernelParameter = 'cgroup_enable=memory';
const commandLine = 'cmdline.txt';

/**
 * Makes a boot partition one board's own.
 *
 * @param work a directory of this board's own
 * @throws FlashError `boot_partition_full`, `boards_invalid`
 */
export function customise(fat: FatFile, plan: BoardPlan, load: Load, work: string): void {
  mkdirSync(work, { recursive: true });
  const package_name = basename(load.package_file);
  const model = load.model_dir === null ? null : basename(load.model_dir);
  const seed = seedOf({
    plan,
    secrets: secretsOf(plan),
    instance_id: `slmd-${plan.device}-${randomBytes(6).toString('hex')}`,
    now_s: Math.floor(Date.now() / 1000),
    package_name,
    model,
  });
  const files = new Map<string, string>(Object.entries(seed));
  const kernel = fat.read(commandLine);
  if (kernel !== null) files.set(commandLine, withParameter(kernel));
  for (const [name, text] of files) writeFileSync(join(work, name), text, { mode: 0o600 });
  const paths = [...files.keys()].map((name) => join(work, name));
  requireRoom(fat, load);
  fat.put([...paths, load.package_file, ...(load.model_dir === null ? [] : [load.model_dir])]);
}

/** The kernel's command line is one line; a parameter that is there stays as it is. */
export function withParameter(line: string): string {
  const parameters = line.trim().split(/\s+/);
  return `${[...parameters, ...(parameters.includes(kernelParameter) ? [] : [kernelParameter])].join(' ')}\n`;
}

function requireRoom(fat: FatFile, { package_file, model_dir }: Load): void {
  const needed = bytesOf(package_file) + (model_dir === null ? 0 : bytesOf(model_dir));
  const free = fat.freeBytes();
  if (needed > free)
    throw new FlashError(
      'boot_partition_full',
      `the boot partition has ${megabytes(free)} free and slmd needs ${megabytes(needed)}`,
    );
}

function bytesOf(path: string): number {
  const entry = statSync(path);
  if (!entry.isDirectory()) return entry.size;
  return readdirSync(path).reduce((sum, name) => sum + bytesOf(join(path, name)), 0);
}

function secretsOf({ ca_file, cert_file, key_file }: BoardPlan): Secrets {
  const read = (path: string | undefined) => {
    if (path === undefined) return null;
    try {
      return readFileSync(path, 'utf8');
    } catch (error) {
      throw new FlashError('boards_invalid', `${path} cannot be read: ${messageOf(error)}`);
    }
  };
  return { ca: read(ca_file), cert: read(cert_file), key: read(key_file) };
}
