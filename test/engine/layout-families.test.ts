import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { BuildOptions } from '../../src/builder/build-model.ts';
import { openEngine } from '../../src/engine/engine.ts';
import { families, tinyVariants } from '../golden/tiny-variants.ts';
import { writeGenaiModel, writeTransformersJsModel } from '../support/foreign-model.ts';
import { engineOptions, request } from '../support/forked-engine.ts';
import { temporaryDir } from '../support/temporary.ts';
import type { TinyCheckpointOptions } from '../support/tiny-checkpoint.ts';
import { tinyModelDir } from '../support/tiny-model.ts';

const layouts = { onnx: writeTransformersJsModel, genai: writeGenaiModel };

async function answer(dir: string): Promise<{ text: string; layout: string; quantization: string }> {
  const engine = await openEngine(dir, engineOptions);
  const { text } = await engine.generate(request('a prompt of several chunks, '.repeat(2)));
  await engine.close();
  const { layout, quantization } = engine.info.model;
  return { text, layout, quantization };
}

for (const family of families)
  describe(`a directory of the checkpoint "${family}"`, () => {
    const checkpoint: TinyCheckpointOptions = { ...tinyVariants[family], dtype: 'F32' };
    for (const quantization of ['float32', 'int4', 'int8'] as const)
      for (const [layout, write] of Object.entries(layouts))
        test(`in the layout ${layout} and ${quantization} answers as slmd's own build does`, async (t) => {
          // Rounding activations to int8 makes large differences of small ones; without it both are exact.
          const build: BuildOptions =
            quantization === 'float32' ? { quantization } : { quantization, accuracyLevel: 0 };
          const dir = join(temporaryDir(t), 'tiny');
          await write(dir, { checkpoint, build });
          const own = await answer(await tinyModelDir({ checkpoint, build }));
          assert.notEqual(own.text, '');
          assert.deepEqual(await answer(dir), { ...own, layout });
        });
  });
