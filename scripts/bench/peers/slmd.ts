import { join } from 'node:path';
import { Sampler } from '../../../src/engine/sampler.ts';
import { openRuntime } from '../../../src/onnx/runtime.ts';
import { AnswerClock, cancelLatency, type Peer, type PeerOptions } from './peer.ts';

const prefillChunkTokens = 128;
const greedy = { temperature: 0, top_p: 1, top_k: 0, min_p: 0, repetition_penalty: 1, seed: 0 };

/** The engine's decoder and sampler, as `src/engine/generate.ts` uses them. */
export async function open({ model, clock, threads, contextLength }: PeerOptions): Promise<Peer> {
  const runtime = openRuntime('native');
  const { decoder, compute } = await runtime.openDecoder(join(model, 'model.onnx'), {
    threads,
    contextLength,
  });
  const prefill = async (prompt: readonly number[], signal?: AbortSignal) => {
    let logits: Float32Array = new Float32Array();
    for (let start = decoder.length; start < prompt.length; start += prefillChunkTokens)
      logits = await decoder.forward(prompt.slice(start, start + prefillChunkTokens), signal);
    return logits;
  };
  return {
    version: `this checkout, ONNX Runtime ${runtime.version}`,
    settings: `${compute.threads} thread(s), spin ${compute.spinUs} µs, prefill by ${prefillChunkTokens} tokens`,
    async answer(prompt, tokens, cached) {
      if (!cached) decoder.reset();
      const sampler = new Sampler(greedy, prompt);
      const stamps = new AnswerClock(clock);
      for (let logits = await prefill(prompt); ; ) {
        const id = sampler.next(logits);
        stamps.token(id);
        if (stamps.tokens === tokens) return stamps.answer();
        logits = await decoder.forward([id]);
      }
    },
    cancel(prompt, afterMs) {
      decoder.reset();
      const given = new AbortController();
      const run = () => prefill(prompt, given.signal).catch(() => undefined);
      return cancelLatency(run, () => given.abort(), afterMs);
    },
    close: () => decoder.dispose(),
  };
}
