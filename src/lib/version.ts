import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from './package-root.ts';

/** The version of this slmd: set by the build; from the sources, what package.json says. */
export function version(): string {
  if (process.env.SLMD_VERSION !== undefined) return process.env.SLMD_VERSION;
  return (JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8')) as { version: string })
    .version;
}
