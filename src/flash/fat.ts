import { spawnSync } from 'node:child_process';
import { FlashError } from './errors.ts';

/**
 * A FAT file system in a file, through the mtools: they need no mount and no root.
 *
 * @throws FlashError `tool_missing` from any call, where mtools are not installed
 */
export class FatFile {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  /** Whether it can be read as FAT. */
  readable(): boolean {
    return this.#tool('mdir', ['-b', '::/']).status === 0;
  }

  /** Names in the root, in lower case. */
  names(): string[] {
    return this.#tool('mdir', ['-b', '::/'])
      .stdout.toString()
      .split('\n')
      .flatMap((line) => /^::\/([^/]+)\/?$/.exec(line.trim())?.[1]?.toLowerCase() ?? []);
  }

  /** The content of a file, or null where there is none. */
  read(name: string): string | null {
    const { status, stdout } = this.#tool('mtype', [`::/${name}`]);
    return status === 0 ? stdout.toString() : null;
  }

  /** Copies files and directories into the root, over what has their names. */
  put(paths: readonly string[]): void {
    const { status, stderr } = this.#tool('mcopy', ['-s', '-o', '-Q', ...paths, '::/']);
    if (status === 0) return;
    const text = stderr.toString().trim().split('\n')[0] ?? '';
    throw new FlashError('boot_partition_full', `the boot partition does not take what slmd needs: ${text}`);
  }

  freeBytes(): number {
    const [, digits = '0'] = /([\d ]+) bytes free/.exec(this.#tool('mdir', ['::/']).stdout.toString()) ?? [];
    return Number(digits.replaceAll(' ', ''));
  }

  #tool(name: string, args: string[]) {
    const [first = '', ...rest] = args;
    const options = first.startsWith('-') ? [first, '-i', this.#path, ...rest] : ['-i', this.#path, ...args];
    const ran = spawnSync(name, options, {
      // Real images have geometries that mtools finds odd; what they hold is what counts.
      env: { ...process.env, MTOOLS_SKIP_CHECK: '1' },
      maxBuffer: 64 * 1024 * 1024,
    });
    if (ran.error !== undefined)
      throw new FlashError(
        'tool_missing',
        `${name} is needed: apt-get install mtools (or brew install mtools)`,
      );
    return ran;
  }
}
