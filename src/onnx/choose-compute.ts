import { readFileSync } from 'node:fs';
import { countAccuracyLevel } from './accuracy-level.ts';
import { hasByteProducts } from './cpu.ts';
import type { Library } from './ffi/index.ts';
import { candidates, fastest, type ModelShape, measure } from './probe.ts';
import type { Compute } from './session-options.ts';
import { chooseThreads } from './threads.ts';

/** Who said how a model is computed. */
export type ChosenBy = 'setting' | 'probe' | 'cores';

export interface Choice {
  compute: Compute;
  chosenBy: ChosenBy;
}

/**
 * Without a measurement. Spinning threads take the cores that the daemon and the kernel need: 2 to 2.5
 * times slower on a board that does anything else, and hardly faster on an idle one.
 */
export function computeByRule(threads: number): Choice {
  const chosenBy = threads === 0 ? 'cores' : 'setting';
  return { compute: { threads: threads || chooseThreads(), spinUs: 0, accuracyLevel: null }, chosenBy };
}

/**
 * By a short measurement where nobody said how many threads, and by another where int8 arithmetic may be
 * slower than float32 on this processor.
 *
 * @param cpuRoot see `hasByteProducts`
 */
export async function chooseCompute(
  library: Library,
  graphPath: string,
  shape: ModelShape,
  threads: number,
  cpuRoot?: string,
): Promise<Choice> {
  const choice = await chooseThreading(library, shape, threads);
  if (hasByteProducts(cpuRoot) || countAccuracyLevel(readFileSync(graphPath), 4) === 0) return choice;
  const levels = [4, 0].map((accuracyLevel) => ({ ...choice.compute, accuracyLevel }));
  return { ...choice, compute: fastest(await measure(library, shape, levels)).compute };
}

/** By a short measurement where nobody said how many threads; the graph computes as it is. */
export async function chooseThreading(library: Library, shape: ModelShape, threads: number): Promise<Choice> {
  const choice = computeByRule(threads);
  const tries = candidates(choice.compute.threads);
  if (threads !== 0 || tries.length < 2) return choice;
  return { compute: fastest(await measure(library, shape, tries)).compute, chosenBy: 'probe' };
}
