import type { PeerProcess } from './peers/peer-process.ts';
import { median } from './statistics.ts';

/** What is measured of every peer. */
export const measures = {
  prefill_128: { label: 'prefill, 128 tokens', unit: 'tokens/s', better: 'higher' },
  prefill_512: { label: 'prefill, 512 tokens', unit: 'tokens/s', better: 'higher' },
  decode_128: { label: 'decode, context 128', unit: 'tokens/s', better: 'higher' },
  decode_2048: { label: 'decode, context 2048', unit: 'tokens/s', better: 'higher' },
  ttft_cold: { label: 'TTFT, 528 tokens', unit: 'ms', better: 'lower' },
  ttft_cached: { label: 'TTFT, 512 of 528 cached', unit: 'ms', better: 'lower' },
  cancel: { label: 'cancel, prefill of 1024', unit: 'ms', better: 'lower' },
  load: { label: 'load', unit: 'ms', better: 'lower' },
  peak: { label: 'peak memory', unit: 'MB', better: 'lower' },
} as const satisfies Record<string, { label: string; unit: string; better: 'higher' | 'lower' }>;

export type Measure = keyof typeof measures;
export type Sample = Partial<Record<Measure, number>>;

/** The longest prompt and its answer. */
export const contextLength = 2048 + 128;
/** Random token ids are drawn below this: both vocabularies have them, and llama.cpp's bytes are not among them. */
const idsMin = 512;
const idsMax = 49_000;
/** What a person asks after a long system prompt. */
const questionTokens = 16;
/** Early enough that a prefill of the cancelled prompt is under way with every peer. */
const cancelAfterMs = 100;

export interface Step {
  name: string;
  /** @param answered told the first token of every answer */
  run(peer: PeerProcess, prompt: Prompt, answered: (id: number) => void): Promise<Sample>;
}

/** The same random ids for every peer, by their number. */
export type Prompt = (tokens: number) => number[];

/** What a peer is asked in a round; all peers do one step before any does the next. */
export function stepsOf(decodeTokens: number): Step[] {
  const decode = (context: 128 | 2048): Step => ({
    name: `context ${context}`,
    async run(peer, prompt, answered) {
      const { ids, ttft_ms, intervals_ms } = await peer.answer(prompt(context), decodeTokens + 1);
      answered(ids[0]!);
      const speed = 1000 / median(intervals_ms);
      if (context === 2048) return { decode_2048: speed };
      return { decode_128: speed, prefill_128: (1000 * context) / ttft_ms };
    },
  });
  return [decode(128), decode(2048), prefix, cancel];
}

const prefix: Step = {
  name: 'prefix',
  async run(peer, prompt, answered) {
    const whole = prompt(512 + questionTokens);
    const first = await peer.answer(whole.slice(0, 512), 1);
    const cached = await peer.answer(whole, 1, true);
    const cold = await peer.answer(whole, 1);
    for (const { ids } of [first, cached, cold]) answered(ids[0]!);
    return {
      prefill_512: (1000 * 512) / first.ttft_ms,
      ttft_cached: cached.ttft_ms,
      ttft_cold: cold.ttft_ms,
    };
  },
};

const cancel: Step = {
  name: 'cancel',
  async run(peer, prompt) {
    return { cancel: await peer.cancel(prompt(1024), cancelAfterMs) };
  },
};

/** A prompt of a seed: its first tokens are those of every shorter one. */
export function promptOf(seed: number): Prompt {
  return (tokens) => randomIds(seed, tokens, idsMin, idsMax);
}

/** Token ids from `min` on, and below `max`. */
export function randomIds(seed: number, count: number, min: number, max: number): number[] {
  let state = seed + 1;
  return Array.from({ length: count }, () => {
    // A linear congruence of the full period of 2³²: its high bits are random enough for token ids.
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return min + Math.floor((state / 2 ** 32) * (max - min));
  });
}
