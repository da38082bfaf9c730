import { spawnSync } from 'node:child_process';

const canLeash = spawnSync('setpriv', ['--pdeathsig', 'KILL', 'true']).status === 0;

/** A command line before which a program ends with this process, however that ends (Linux). */
export const leash: readonly string[] = canLeash ? ['setpriv', '--pdeathsig', 'KILL'] : [];
