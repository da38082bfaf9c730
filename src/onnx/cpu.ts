import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Instructions that multiply bytes and add them up: arm64's dot product, and what x64 has had since 2013.
 * Names as in /proc/cpuinfo.
 */
const byteProducts = ['asimddp', 'avx2', 'avx_vnni', 'avx512_vnni'];

/**
 * Whether int8 arithmetic is fast on this processor; true where that cannot be read.
 *
 * @param root stands before every path, so that tests can show it any board
 */
export function hasByteProducts(root = '/'): boolean {
  let cpuinfo: string;
  try {
    cpuinfo = readFileSync(join(root, 'proc/cpuinfo'), 'utf8');
  } catch {
    return true;
  }
  // arm64 lists its features for each core, and cores may differ: work is shared by all of them.
  const cores = [...cpuinfo.matchAll(/^(?:flags|Features)\s*:\s*(.*)$/gm)].map(([, names]) =>
    names!.split(' '),
  );
  return cores.every((names) => byteProducts.some((name) => names.includes(name)));
}
