import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { rootFileSystem } from '../../scripts/device/root-file-system.ts';

export interface Outcome {
  status: number | null;
  output: string;
}

/**
 * An arm64 Debian in a directory: no systemd, no network of its own, and nothing that a test leaves behind.
 * What runs in it runs emulated, in the host's network.
 */
export class BoardRoot {
  readonly dir: string;

  constructor() {
    this.dir = mkdtempSync(join(tmpdir(), 'slmd-root-'));
    const { status } = spawnSync('tar', ['-xf', rootFileSystem(), '-C', this.dir]);
    if (status !== 0) throw new Error('the root file system cannot be unpacked');
    // It was made without manuals; what is installed from now on is installed whole.
    rmSync(this.at('etc/dpkg/dpkg.cfg.d/99mmdebstrap'), { force: true });
  }

  remove(): void {
    rmSync(this.dir, { recursive: true, force: true });
  }

  at(path: string): string {
    return join(this.dir, path);
  }

  has(path: string): boolean {
    return existsSync(this.at(path));
  }

  read(path: string): string {
    return readFileSync(this.at(path), 'utf8');
  }

  write(path: string, text: string): void {
    writeFileSync(this.at(path), text);
  }

  /** Puts a file of the host at a place in it. */
  put(from: string, to: string): void {
    copyFileSync(from, this.at(to));
  }

  /** From now on something that answers to `systemctl` is there, as on a board that is up. */
  bootSystemd(): void {
    mkdirSync(this.at('run/systemd/system'), { recursive: true });
    cpSync(join(import.meta.dirname, 'fake-systemctl.sh'), this.at('usr/bin/systemctl'));
  }

  run(...command: string[]): Outcome {
    const [program = '', ...args] = this.#line(command);
    const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8', env: environment });
    return { status, output: stdout + stderr };
  }

  /** Without waiting for it, and after `wrapper`, which runs on the host. */
  start(command: string[], wrapper: string[] = []): ChildProcess {
    const [program = '', ...args] = [...wrapper, ...this.#line(command)];
    return spawn(program, args, { stdio: 'ignore', env: environment });
  }

  /** In a mount namespace of its own, which is gone with the last process in it. */
  #line(command: string[]): string[] {
    const script = 'mount -t proc proc "$1/proc" && mount --rbind /dev "$1/dev" && exec chroot "$@"';
    return ['unshare', '--mount', '--propagation', 'private', 'sh', '-c', script, 'sh', this.dir, ...command];
  }
}

const environment = {
  PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
  DEBIAN_FRONTEND: 'noninteractive',
  LC_ALL: 'C',
  QEMU_CPU: 'cortex-a72',
};
