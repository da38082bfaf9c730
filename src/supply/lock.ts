import { createHash } from 'node:crypto';
import { createServer } from 'node:net';
import { resolve } from 'node:path';
import { SupplyError } from './errors.ts';

/**
 * Makes this process the only one that writes to a directory. The lock is a socket in the kernel's
 * abstract name space: it ends with the process, however that ends, and leaves no file behind.
 *
 * @returns what gives the lock back
 * @throws SupplyError `pull_running`
 */
export async function lockPull(dir: string): Promise<() => void> {
  const name = createHash('sha256').update(resolve(dir)).digest('hex').slice(0, 32);
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const taken = error.code === 'EADDRINUSE';
      reject(
        taken ? new SupplyError('pull_running', `another process downloads this model to ${dir}`) : error,
      );
    });
    server.listen(`\0slmd-pull-${name}`, resolve);
  });
  server.unref();
  return () => server.close();
}
