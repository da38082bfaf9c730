import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';

/** A disk that can be filled: a small one in memory, mounted where a device keeps its journal. */
export interface SmallDisk {
  dir: string;
  /** Takes all the room there is. */
  fill(): void;
  /** Gives it back. */
  free(): void;
  stop(): Promise<void>;
}

/** Room for a journal and for the fresh one that replaces it. */
const mebibytes = 32;
const chunk = Buffer.alloc(65_536);

/** Mounts it at `dir`; where this process may not, the reason. It goes with this process, however that ends. */
export function mountSmallDisk(dir: string): SmallDisk | string {
  if (process.platform !== 'linux') return 'only on Linux can a small disk be mounted';
  mkdirSync(dir, { recursive: true });
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${mebibytes}m,mode=700`, 'slmd-soak', dir]);
  if (mounted.status !== 0) return 'a small disk can be mounted by root alone';
  // It waits for the end of its input, which is the end of this process at the latest.
  const unmounting = spawn('sh', ['-c', 'cat > /dev/null; umount -l "$0"', dir], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  });
  const ballast = join(dir, 'ballast');
  return {
    dir,
    fill: () => fill(ballast),
    free: () => rmSync(ballast, { force: true }),
    stop: async () => {
      const unmounted = once(unmounting, 'exit');
      unmounting.stdin.end();
      await unmounted;
    },
  };
}

/** In ever smaller pieces, until not a byte is left. */
function fill(path: string): void {
  const file = openSync(path, 'a');
  try {
    for (let size = chunk.length; size > 0; ) {
      try {
        if (writeSync(file, chunk, 0, size) === 0) return;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
        size = Math.floor(size / 2);
      }
    }
  } finally {
    closeSync(file);
  }
}
