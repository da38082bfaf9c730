import type { Result } from '../../src/contract/result.ts';

/** An answer with timings and usage, as it is on the wire. */
export function okResult(more: Partial<Result> = {}): Result {
  return {
    id: 'a',
    device: 'kitchen',
    model: 'fake',
    status: 'ok',
    text: 'hi',
    finish_reason: 'stop',
    usage: {
      prompt_tokens: 10,
      cached_tokens: 4,
      completion_tokens: 5,
      speculated_tokens: 3,
      accepted_tokens: 2,
      rerun_tokens: 1,
    },
    timings: {
      queue_ms: 1,
      tokenize_ms: 2,
      prefill_ms: 30,
      decode_ms: 40,
      total_ms: 73,
      ttft_ms: 33,
      tpot_ms: 10,
      prefill_tokens_per_second: 200,
      decode_tokens_per_second: 100,
    },
    board: { soc_temp_c: null, throttled: [], energy_j: null, energy_source: 'none' },
    attempt: 1,
    metadata: null,
    ...more,
  };
}
