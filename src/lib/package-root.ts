import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';

/**
 * Where slmd is installed: the nearest directory above this file that holds package.json and `devices/`.
 * The bundle in `dist/` and the sources in `src/` find the same one.
 */
export function packageRoot(from = import.meta.dirname): string {
  for (let dir = from; dir !== dirname(dir); dir = dirname(dir))
    if (existsSync(join(dir, 'devices')) && existsSync(join(dir, 'package.json'))) return dir;
  throw new Error('slmd is not installed completely: its package.json and devices/ are missing');
}

/** The model that ships with slmd. */
export function shippedModel(): string {
  return join(packageRoot(), 'models', 'slmd-home-3m', 'int4');
}

/** The engine's entry point: beside the bundle, or in the sources. */
export function engineEntry(): string {
  const bundled = join(import.meta.dirname, 'engine.js');
  return existsSync(bundled) ? bundled : join(packageRoot(), 'src', 'engine', 'main.ts');
}
