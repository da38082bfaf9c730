import { basename, dirname, join } from 'node:path';
import type { Config } from '../config/schema.ts';
import type { Inspection } from '../supply/inspect.ts';
import type { ModelStore } from '../supply/store.ts';

/** What to do with a model next, as a command where there is one. */
export function nextStep(
  { dir, layout, manifest, runnable }: Inspection,
  store: ModelStore,
  { model }: Config,
): string {
  const stored = dirname(dir) === store.dir;
  switch (layout) {
    case 'slmd':
      if (stored) return `slmd model activate ${basename(dir)}`;
      return `mkdir -p ${store.dir} && cp -r ${dir} ${join(store.dir, manifest?.id ?? 'model')}, to have it in the store`;
    case 'safetensors':
      return `slmd model build ${dir} --out ${join(store.dir, `${basename(dir)}-${model.variant}`)}`;
    case 'genai':
    case 'onnx':
      if (!runnable) return 'pull the safetensors of the same model, and build it';
      return stored ? `slmd model activate ${basename(dir)}` : `SLMD_MODEL_DIR=${dir} slmd run`;
    case 'unknown':
      return 'nothing: there are neither safetensors nor ONNX graphs';
  }
}
