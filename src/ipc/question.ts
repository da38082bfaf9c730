import type { GenerateJob, SamplingOptions } from './messages.ts';

/** The most probable token, each time. */
export const greedy: SamplingOptions = {
  temperature: 0,
  top_k: 0,
  top_p: 1,
  min_p: 0,
  repetition_penalty: 1,
  seed: 0,
};

/** A question of one turn, to be answered greedily and with any text. */
export function question(content: string, max_tokens: number | null): GenerateJob {
  return {
    messages: [{ role: 'user', content }],
    max_tokens,
    sampling: greedy,
    stop: [],
    response_format: null,
  };
}
