import { type Finding, note, ok } from './finding.ts';

/** What decides how fast quantized weights are multiplied. */
export interface Processor {
  arch: string;
  /** Names as in /proc/cpuinfo. */
  features: readonly string[];
}

interface KernelPath {
  feature: string;
  path: string;
}

/**
 * Kernels for weights of four bits, the fastest first, as ONNX Runtime 1.30 chooses them by the CPU's
 * features. Without any of them activations stay float32: `accuracy_level` 4 then computes what 0 does,
 * which is exact and slow (seen bit for bit on a Cortex-A72).
 */
const paths: Record<string, readonly KernelPath[]> = {
  arm64: [
    { feature: 'i8mm', path: 'int8 matrix products (i8mm)' },
    { feature: 'asimddp', path: 'int8 dot products (asimddp)' },
  ],
  x64: [
    { feature: 'avx512_vnni', path: 'int8 dot products (AVX512-VNNI)' },
    { feature: 'avx_vnni', path: 'int8 dot products (AVX-VNNI)' },
    { feature: 'avx512f', path: 'int8 by AVX512' },
    { feature: 'avx2', path: 'int8 by AVX2' },
  ],
};

/** The kernel path that a quantized model takes on this processor; null where it is float32's. */
export function kernelPath({ arch, features }: Processor): string | null {
  return paths[arch]?.find(({ feature }) => features.includes(feature))?.path ?? null;
}

export function processorFinding(processor: Processor): Finding {
  const path = kernelPath(processor);
  return path === null
    ? note(
        'processor',
        'no dot-product instructions: quantized weights are computed with in float32',
        'expect less than the memory would allow; prefer a model of fewer parameters',
      )
    : ok('processor', `quantized weights go by ${path}`);
}
