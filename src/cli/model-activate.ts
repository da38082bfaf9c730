import { parseArgs } from 'node:util';
import type { Config } from '../config/schema.ts';
import { memoryBytes } from '../lib/memory.ts';
import { sizeOf } from '../model/memory-need.ts';
import { activate } from '../supply/activate.ts';
import { shippedName } from '../supply/store.ts';
import { boardAdvice } from './board-advice.ts';
import { coded } from './coded.ts';
import { CommandError, exitCodes } from './exit-codes.ts';
import { modelContext, onlyOne, storeOptions, storeUsage } from './model-context.ts';
import { tryModel } from './model-trial.ts';

export const activateUsage = `slmd model activate <model> | --shipped [--variant v] [--force]

Makes a model of the store the one that the daemon serves. It is tried first, in an engine of its own: it
must load, compute finite logits and answer its smoke prompts (smoke.json, or any answer at all). A daemon
that runs changes between two prompts, and goes back by itself where it cannot load the model.
A model in the layout of transformers.js or onnxruntime-genai is taken over: slmd-model.json then holds the
hash of each of its files.

  --force          tries a model that clearly does not fit into the board's memory, too
  --variant <name> which of its graphs (q4, int8, …); by default the best for this board (model.variant)
  --shipped        the model that ships with slmd
${storeUsage}

Exit code: 0 active, 1 refused; the model before stays active then.`;

export const rollbackUsage = `slmd model rollback

Goes back to the model that was active before, at once and without a trial.

${storeUsage}`;

export async function modelActivate(args: string[]): Promise<void> {
  const options = {
    ...storeOptions,
    shipped: { type: 'boolean', default: false },
    variant: { type: 'string' },
    force: { type: 'boolean', default: false },
  } as const;
  const { values, positionals } = parseArgs({ args, allowPositionals: true, options });
  if (values.shipped && (positionals.length > 0 || values.variant !== undefined))
    throw new CommandError(
      exitCodes.usage,
      `either a model, with a variant or without, or --shipped\n\n${activateUsage}`,
    );
  const model = values.shipped ? null : onlyOne(positionals, 'model', activateUsage);
  const { store, config } = modelContext(values);
  try {
    await activate(store, model, {
      trust: config.model.trust,
      variant: values.variant,
      kind: config.model.variant,
      memory: values.force
        ? undefined
        : {
            bytes: memoryBytes(),
            contextTokens: config.engine.context_length_max,
            chunkTokens: config.engine.prefill_chunk_tokens,
          },
      onRead: (manifest) => {
        const advice = boardAdvice(sizeOf(manifest), config);
        if (advice !== null) console.error(advice);
        console.error(`trying ${model ?? shippedName} …`);
      },
      tryModel: (source, prompts) => tryModel(config, source, prompts),
    });
  } catch (error) {
    coded(error);
  }
  announce(model, config);
}

export async function modelRollback(args: string[]): Promise<void> {
  const { values } = parseArgs({ args, options: storeOptions });
  const { store, config } = modelContext(values);
  try {
    announce(store.rollback(), config);
  } catch (error) {
    coded(error);
  }
}

function announce(model: string | null, config: Config): void {
  console.log(`active: ${model ?? shippedName}`);
  if (config.model.dir !== null)
    console.error(`model.dir is set: the daemon serves ${config.model.dir}, whatever is active here`);
}
