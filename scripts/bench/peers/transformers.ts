import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { pathToFileURL } from 'node:url';
import { AnswerClock, cancelLatency, type Peer, type PeerOptions } from './peer.ts';

/** What is used of `@huggingface/transformers`, which is installed only where the bench has run. */
interface Transformers {
  env: { version: string; allowRemoteModels: boolean; localModelPath: string };
  Tensor: new (type: 'int64', data: BigInt64Array, dims: number[]) => unknown;
  AutoModelForCausalLM: { from_pretrained(path: string, options: object): Promise<Model> };
  BaseStreamer: new () => object;
  InterruptableStoppingCriteria: new () => { interrupt(): void; reset(): void };
}

interface Model {
  generate(options: object): Promise<{ past_key_values: unknown }>;
  dispose(): Promise<unknown>;
}

/** transformers.js: `generate` with a streamer, the cache handed on where a prompt goes on from the last. */
export async function open({ model, packages, clock, threads }: PeerOptions): Promise<Peer> {
  process.env.ORT_DISABLE_TELEMETRY = '1';
  const resolved = createRequire(`${packages}/package.json`).resolve('@huggingface/transformers');
  const entry = pathToFileURL(`${dirname(resolved)}/transformers.node.mjs`).href;
  const transformers = (await import(entry)) as Transformers;
  const { env, AutoModelForCausalLM, Tensor, BaseStreamer, InterruptableStoppingCriteria } = transformers;
  env.allowRemoteModels = false;
  const loaded = await AutoModelForCausalLM.from_pretrained(model, {
    dtype: 'q4',
    device: 'cpu',
    local_files_only: true,
    session_options: { intraOpNumThreads: threads, graphOptimizationLevel: 'all' },
  });
  let past: unknown = null;
  const interruption = new InterruptableStoppingCriteria();

  const generate = async (prompt: readonly number[], tokens: number, stamps: AnswerClock) => {
    class Streamer extends BaseStreamer {
      #prompt = true;
      put(ids: [[bigint]]): void {
        // The prompt comes first.
        if (!this.#prompt) stamps.token(Number(ids[0][0]));
        this.#prompt = false;
      }
      end(): void {}
    }
    const ids = BigInt64Array.from(prompt, BigInt);
    const output = await loaded.generate({
      input_ids: new Tensor('int64', ids, [1, ids.length]),
      attention_mask: new Tensor('int64', new BigInt64Array(ids.length).fill(1n), [1, ids.length]),
      max_new_tokens: tokens,
      do_sample: false,
      return_dict_in_generate: true,
      streamer: new Streamer(),
      stopping_criteria: interruption,
      ...(past === null ? {} : { past_key_values: past }),
    });
    past = output.past_key_values;
  };
  return {
    version: env.version,
    settings: `${threads} thread(s), dtype q4, device cpu, spinning as by default`,
    async answer(prompt, tokens, cached) {
      if (!cached) past = null;
      interruption.reset();
      const stamps = new AnswerClock(clock);
      await generate(prompt, tokens, stamps);
      return stamps.answer();
    },
    cancel(prompt, afterMs) {
      past = null;
      interruption.reset();
      return cancelLatency(
        () => generate(prompt, 2, new AnswerClock(clock)),
        () => interruption.interrupt(),
        afterMs,
      );
    },
    close: async () => void (await loaded.dispose()),
  };
}
