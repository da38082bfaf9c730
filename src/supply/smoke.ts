import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import { SlmdError } from '../lib/errors.ts';

/**
 * In a model directory, if its maker wants more than an answer at all: prompts, and what is answered.
 * `slmd model build` takes it over from the checkpoint, and the manifest then has its hash.
 */
export const smokeFile = 'smoke.json';

/** A model is tried between two prompts of a person: a handful says whether it works. */
const promptsMax = 16;

const smokeSchema = z
  .array(
    z.strictObject({
      prompt: z.string().min(1),
      max_tokens: z.int().min(1).max(256).default(16),
      /** The whole answer, to the letter; without it any answer that is not empty will do. */
      expect: z.string().optional(),
    }),
  )
  .min(1)
  .max(promptsMax);

export type SmokePrompt = z.infer<typeof smokeSchema>[number];

const anyAnswer: SmokePrompt[] = [{ prompt: 'Hello', max_tokens: 16 }];

/** @throws SlmdError `model_invalid` where the file is there and is not as described */
export async function readSmokePrompts(dir: string): Promise<SmokePrompt[]> {
  const path = join(dir, smokeFile);
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw error;
  });
  if (text === null) return anyAnswer;
  try {
    return smokeSchema.parse(JSON.parse(text));
  } catch {
    throw new SlmdError('model_invalid', `${path} is no list of {"prompt", "max_tokens"?, "expect"?}`);
  }
}

/** What is wrong with an answer; null where nothing is. */
export function smokeFinding({ expect }: SmokePrompt, answer: string): string | null {
  if (expect === undefined) return answer.trim() === '' ? 'the answer is empty' : null;
  return answer === expect ? null : 'the answer is another than smoke.json expects';
}
