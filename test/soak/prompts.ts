import { heldOutSets } from '../../scripts/train/data/sets.ts';
import type { Question } from './asker.ts';

const prompts = heldOutSets(1, 300).values.map(({ prompt }) => prompt);

/** What a home asks, in each of the ways that the device treats differently. */
export function homePrompt(id: string, random: () => number): Question {
  const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)] as T;
  return {
    id,
    prompt: pick(prompts),
    stream: random() < 0.7,
    ...(random() < 0.2 ? { temperature: 1.5, max_tokens: 96 } : {}),
    ...(random() < 0.2 ? { priority: pick(['low', 'high']) } : {}),
    ...(random() < 0.1 ? { metadata: { room: pick(['kitchen', 'hall']) } } : {}),
  };
}
