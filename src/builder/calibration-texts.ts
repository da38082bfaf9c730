import { existsSync } from 'node:fs';
import { readLanguage } from '../model/directory.ts';
import { encodeConversation } from '../model/prompt.ts';
import type { Reader } from './calibrate.ts';
import { BuildError } from './errors.ts';

/** A longer text says nothing new, and attention over it costs its square. */
const textTokensMax = 512;

/** Enough for groups of 128 columns many times over; a 3 B model takes some minutes for each thousand. */
export const calibrationTokensMax = 8192;

/**
 * The ids of texts as the model reads them from a user.
 *
 * @throws BuildError `option_invalid` where there are none
 */
export async function encodeTexts(
  { checkpointDir, architecture: { vocabularySize }, options: { contextLength } }: Reader,
  texts: readonly string[],
): Promise<number[][]> {
  const { tokenizer, template } = await readLanguage(checkpointDir, existsSync);
  const encoded: number[][] = [];
  let left = calibrationTokensMax;
  for (const content of texts) {
    const ids = encodeConversation([{ role: 'user', content }], tokenizer, template)
      // A tokenizer may know more tokens than the embedding has rows.
      .filter((id) => id < vocabularySize)
      .slice(0, Math.min(textTokensMax, contextLength, left));
    if (ids.length > 0) encoded.push(ids);
    left -= ids.length;
  }
  if (encoded.length === 0) throw new BuildError('option_invalid', 'there is no text to calibrate with');
  return encoded;
}
