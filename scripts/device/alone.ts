import { once } from 'node:events';
import { connect, createServer } from 'node:net';

/** In no file system, so that the kernel forgets it with its process, however that ends. */
const name = '\0slmd-ladder';

/**
 * Waits until no other ladder is climbed on this machine: they share a cache and what the kernel is taught,
 * and an emulator takes all the time there is.
 */
export async function alone(): Promise<void> {
  if (process.platform !== 'linux') return;
  for (;;) {
    const server = createServer((waiting) => waiting.on('error', () => undefined).unref()).listen(name);
    const held = await once(server, 'listening').catch((error: NodeJS.ErrnoException) => error.code);
    if (held !== 'EADDRINUSE') {
      server.unref();
      return;
    }
    console.log('slmd: another ladder is climbed on this machine; waiting for its end …');
    const other = connect(name).on('error', () => undefined);
    await once(other, 'close');
  }
}
