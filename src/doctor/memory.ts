import { megabytes } from '../lib/megabytes.ts';
import { type Finding, ok, problem, warning } from './finding.ts';

/** Less than this is left for everything else: the kernel starts to look for something to end. */
const headroomBytes = 50e6;

/**
 * Whether the engine fits into what is free, before anything is loaded.
 *
 * @param sparable_bytes what the same model would need less if it were built with an int8 KV cache
 */
export function memoryFinding(
  needed_bytes: number,
  available_bytes: number | null,
  sparable_bytes = 0,
): Finding {
  const needs = `the engine needs about ${megabytes(needed_bytes)}`;
  if (available_bytes === null) return ok('memory', needs);
  const line = `${needs}, and ${megabytes(available_bytes)} are free`;
  const wanted_bytes = needed_bytes + headroomBytes;
  const rebuild =
    wanted_bytes > available_bytes && wanted_bytes - sparable_bytes <= available_bytes
      ? `build it with --kv-cache int8 (${megabytes(sparable_bytes)} less), `
      : '';
  if (needed_bytes > available_bytes)
    return problem(
      'memory',
      line,
      `${rebuild}use a smaller model, lower engine.context_length_max, or stop what else runs (another slmd?)`,
    );
  if (wanted_bytes > available_bytes)
    return warning('memory', `${line}: a tight fit`, `${rebuild}lower engine.context_length_max`);
  return ok('memory', line);
}
