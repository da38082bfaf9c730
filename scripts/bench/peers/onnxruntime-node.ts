import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { InferenceSession, Tensor } from 'onnxruntime-node';
import { argmax } from '../../../src/oracle/metrics.ts';
import { AnswerClock, cancelLatency, type Peer, type PeerOptions } from './peer.ts';

type TensorMap = Record<string, Tensor>;
/** The rest of the prompt, or the last token → its logits. */
type Forward = (ids: readonly number[]) => Promise<Float32Array>;

/** `growing` tensors of the cached length, or `shared` ones that have room for the whole context. */
export type PastKind = 'growing' | 'shared';

/** `onnxruntime-node` as its documentation has it: feeds in, outputs out, each `present` is the next `past`. */
export async function open(
  { model, clock, threads, contextLength }: PeerOptions,
  past: PastKind,
): Promise<Peer> {
  process.env.ORT_DISABLE_TELEMETRY = '1';
  const runtime = createRequire(import.meta.url)('onnxruntime-node') as typeof import('onnxruntime-node');
  const session = await runtime.InferenceSession.create(join(model, 'model.onnx'), {
    executionProviders: ['cpu'],
    graphOptimizationLevel: 'all',
    intraOpNumThreads: threads,
  });
  const kept = session.inputNames.includes('num_logits_to_keep')
    ? { num_logits_to_keep: new runtime.Tensor('int64', BigInt64Array.of(1n), [1]) }
    : {};
  const empty = () => emptyPast(runtime, session, past === 'growing' ? 0 : contextLength);
  let cache = empty();
  let length = 0;
  const forward: Forward = async (ids) => {
    const total = length + ids.length;
    const outputs = (await session.run({
      input_ids: new runtime.Tensor('int64', BigInt64Array.from(ids, BigInt), [1, ids.length]),
      seqlens_k: new runtime.Tensor('int32', Int32Array.of(total - 1), [1]),
      total_sequence_length: new runtime.Tensor('int32', Int32Array.of(total), [1]),
      ...kept,
      ...cache,
    })) as TensorMap;
    cache = presentOf(outputs);
    length = total;
    return outputs.logits!.data as Float32Array;
  };
  const begin = () => {
    cache = empty();
    length = 0;
  };
  return {
    version: runtime.env.versions.node ?? 'unknown',
    settings: `${threads} thread(s), spinning as by default, ${past} past, prefill in one run`,
    async answer(prompt, tokens, cached) {
      const stamps = new AnswerClock(clock);
      if (!cached) begin();
      for (let logits = await forward(prompt.slice(length)); ; ) {
        const id = argmax(logits);
        stamps.token(id);
        if (stamps.tokens === tokens) return stamps.answer();
        logits = await forward([id]);
      }
    },
    cancel(prompt, afterMs) {
      begin();
      // There is nothing to call: a run goes on to its end.
      return cancelLatency(
        () => forward(prompt),
        () => undefined,
        afterMs,
      );
    },
    close: () => session.release(),
  };
}

function emptyPast(
  { Tensor }: typeof import('onnxruntime-node'),
  { inputMetadata }: InferenceSession,
  capacity: number,
): TensorMap {
  const past: TensorMap = {};
  for (const input of inputMetadata) {
    if (!input.isTensor || !input.name.startsWith('past_key_values.')) continue;
    const [, heads, , headSize] = input.shape as number[];
    const data = new Float32Array(heads! * capacity * headSize!);
    past[input.name] = new Tensor('float32', data, [1, heads!, capacity, headSize!]);
  }
  return past;
}

function presentOf(outputs: TensorMap): TensorMap {
  const past: TensorMap = {};
  for (const [name, tensor] of Object.entries(outputs))
    if (name.startsWith('present.')) past[name.replace('present.', 'past_key_values.')] = tensor;
  return past;
}
