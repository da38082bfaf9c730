import { join } from 'node:path';
import { Sampler } from '../../../src/engine/sampler.ts';
import { greedy } from '../../../src/ipc/question.ts';
import type { Sequence } from '../../../src/onnx/decoder.ts';
import { openRuntime } from '../../../src/onnx/runtime.ts';
import { AnswerClock, cancelLatency, clocks, type Peer, type PeerOptions } from './peer.ts';

const prefillChunkTokens = 128;

/** The engine's decoder and sampler, as `src/engine/generate.ts` uses them. */
export async function open({ model, clock, threads, rows = 1, contextLength }: PeerOptions): Promise<Peer> {
  const runtime = openRuntime('native');
  const opened = await runtime.openRows(join(model, 'model.onnx'), { threads, rows, contextLength });
  const { compute } = opened;
  const row = opened.rows[0]!;
  return {
    version: `this checkout, ONNX Runtime ${runtime.version}`,
    settings: `${compute.threads} thread(s), spin ${compute.spinUs} µs, prefill by ${prefillChunkTokens} tokens`,
    async answer(prompt, tokens, cached) {
      if (!cached) row.reset();
      const stamps = new AnswerClock(clock);
      await decode(row, new Sampler(greedy, prompt), await prefill(row, prompt), tokens, (id) =>
        stamps.token(id),
      );
      return stamps.answer();
    },
    cancel(prompt, afterMs) {
      row.reset();
      const given = new AbortController();
      const run = () => prefill(row, prompt, given.signal).catch(() => undefined);
      return cancelLatency(run, () => given.abort(), afterMs);
    },
    async together(prompts, tokens) {
      const begun: [Sequence, Float32Array][] = [];
      for (const [i, prompt] of prompts.entries()) {
        const sequence = opened.rows[i]!;
        sequence.reset();
        begun.push([sequence, await prefill(sequence, prompt)]);
      }
      const now = clocks[clock];
      const started = now();
      await Promise.all(
        begun.map(([sequence, logits]) => decode(sequence, new Sampler(greedy, []), logits, tokens)),
      );
      return (1000 * prompts.length * (tokens - 1)) / (now() - started);
    },
    close: () => opened.dispose(),
  };
}

async function prefill(
  sequence: Sequence,
  prompt: readonly number[],
  signal?: AbortSignal,
): Promise<Float32Array> {
  let logits: Float32Array = new Float32Array();
  for (let start = sequence.length; start < prompt.length; start += prefillChunkTokens)
    logits = await sequence.forward(prompt.slice(start, start + prefillChunkTokens), signal);
  return logits;
}

async function decode(
  sequence: Sequence,
  sampler: Sampler,
  first: Float32Array,
  tokens: number,
  onToken: (id: number) => void = () => undefined,
): Promise<void> {
  for (let logits = first, count = 1; ; count++) {
    const id = sampler.next(logits);
    onToken(id);
    if (count === tokens) return;
    logits = await sequence.forward([id]);
  }
}
