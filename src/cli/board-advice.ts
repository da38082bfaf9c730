import type { Config } from '../config/schema.ts';
import { type ModelSize, overweight, weightBytes } from '../model/memory-need.ts';

/** What a person should know of a model on this board before it is served; null where it suits the board. */
export function boardAdvice(size: ModelSize, { model }: Config): string | null {
  const finding = overweight(weightBytes(size), model.bytes_max);
  return finding && `${finding.message}: ${finding.fix}`;
}
