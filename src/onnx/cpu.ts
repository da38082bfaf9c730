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
  return coresOf(root)?.every((names) => byteProducts.some((name) => names.includes(name))) ?? true;
}

/** x64's vectors of 256 bits, with all that its kernels do with them; what ONNX Runtime is built for has 128. */
const wideVectors = 'avx2';

/** Whether this is an x64 with vectors that only some kernels of ONNX Runtime use; false where it cannot be read. */
export function hasWideVectors(root = '/'): boolean {
  return everyCoreHas(wideVectors, root);
}

/** What kernels are chosen by: the kinds of cores and their features, each once; empty where it cannot be read. */
export function cpuKinds(root = '/'): string[] {
  const facts = /^(?:flags|Features|model name|CPU (?:implementer|variant|part|revision))\s*:.*$/gm;
  return [...new Set((readCpuinfo(root) ?? '').match(facts))].sort();
}

/** arm64's arithmetic in half precision; ONNX Runtime has no kernels for that of x64. */
const halfPrecision = 'asimdhp';

/** Whether float16 is computed as it is on this processor; false where that cannot be read. */
export function hasHalfPrecision(root = '/'): boolean {
  return everyCoreHas(halfPrecision, root);
}

function everyCoreHas(name: string, root: string): boolean {
  const cores = coresOf(root) ?? [];
  return cores.length > 0 && cores.every((names) => names.includes(name));
}

/** The features of each core: they may differ, and work is shared by all of them. Null where they cannot be read. */
function coresOf(root: string): string[][] | null {
  const cpuinfo = readCpuinfo(root);
  if (cpuinfo === null) return null;
  return [...cpuinfo.matchAll(/^(?:flags|Features)\s*:\s*(.*)$/gm)].map(([, names]) => names!.split(' '));
}

function readCpuinfo(root: string): string | null {
  try {
    return readFileSync(join(root, 'proc/cpuinfo'), 'utf8');
  } catch {
    return null;
  }
}
