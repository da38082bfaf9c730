import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { buildModel } from '../../src/builder/build-model.ts';
import { openEngine } from '../../src/engine/engine.ts';
import { greedy } from '../../src/ipc/question.ts';
import { engineOptions } from '../support/forked-engine.ts';
import { sharedDir, sharedJson, sharedTokenizers } from '../support/tokenizers.ts';

interface StoryCase {
  prompt: string;
  prompt_ids_with_bos: number[];
  generated_ids: number[];
  stopped_on_bos: boolean;
  text_full: string;
}

const name = 'models/stories260K';

test('a trained model tells the stories that the reference tells, piece by piece', {
  skip: sharedTokenizers.includes(name) ? false : 'the checkout has no models beside it',
}, async () => {
  const dir = join(mkdtempSync(join(tmpdir(), 'slmd-stories-')), 'model');
  await buildModel(join(sharedDir, name), dir, { quantization: 'float32' });
  const engine = await openEngine(dir, {
    ...engineOptions,
    prefill_chunk_tokens: 8,
    context_length_max: 512,
  });
  const { cases } = sharedJson(`${name}/golden_greedy.json`) as { cases: StoryCase[] };
  for (const { prompt, prompt_ids_with_bos, generated_ids, text_full } of cases) {
    const pieces: string[] = [];
    const done = await engine.generate(
      {
        messages: [{ role: 'user', content: prompt }],
        max_tokens: generated_ids.length,
        sampling: greedy,
        stop: [],
        response_format: null,
      },
      { onTokens: (text) => pieces.push(text) },
    );
    assert.equal(done.usage.prompt_tokens, prompt_ids_with_bos.length);
    assert.equal(pieces.join(''), done.text);
    // An answer has no leading space, whatever stood before it; the whole text has.
    assert.equal(text_full.slice(prompt.length).trimStart(), done.text.trimStart());
  }
  await engine.close();
  rmSync(join(dir, '..'), { recursive: true });
});
