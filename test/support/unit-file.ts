import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export const systemdDir = join(import.meta.dirname, '..', '..', 'systemd');
export const serviceFile = join(systemdDir, 'slmd.service');

/** The values of a setting, line by line, as the unit file gives them. */
export function unitSetting(name: string, file = serviceFile): string[] {
  return readFileSync(file, 'utf8')
    .split('\n')
    .flatMap((line) => (line.startsWith(`${name}=`) ? [line.slice(name.length + 1)] : []));
}
