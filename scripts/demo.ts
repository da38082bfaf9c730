/** `npm run demo`: builds and runs `slmd demo` as a user would have it. */

import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { buildAll } from './build.ts';

await buildAll();
const slmd = join(import.meta.dirname, '..', 'dist', 'slmd.js');
const child = spawn(process.execPath, [slmd, 'demo', ...process.argv.slice(2)], { stdio: 'inherit' });
process.on('SIGINT', () => undefined); // The demo ends on Ctrl-C by itself, in good order.
for (const signal of ['SIGTERM', 'SIGHUP'] as const) process.on(signal, () => child.kill(signal));
child.on('exit', (code) => {
  process.exitCode = code ?? 1;
});
