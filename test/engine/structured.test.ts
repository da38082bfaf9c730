import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { readSchema } from '../../src/contract/schema/read.ts';
import { type Engine, openEngine } from '../../src/engine/engine.ts';
import type { GenerateRequest } from '../../src/engine/generate.ts';
import type { ResponseFormat } from '../../src/ipc/messages.ts';
import { greedy } from '../../src/ipc/question.ts';
import { shippedModel } from '../../src/lib/package-root.ts';
import { engineOptions } from '../support/forked-engine.ts';
import { randomNumbers } from '../support/random.ts';
import { RandomSchemas, validatorOf } from '../support/schemas.ts';
import { tinyModelDir } from '../support/tiny-model.ts';

const lamp = {
  type: 'object',
  properties: {
    room: { enum: ['kitchen', 'bedroom'] },
    percent: { type: 'integer', minimum: 0, maximum: 100 },
    note: { type: 'string', maxLength: 8 },
  },
  required: ['room', 'percent'],
};

function ask(response_format: ResponseFormat | null, more: Partial<GenerateRequest> = {}): GenerateRequest {
  const messages = [{ role: 'user' as const, content: 'Dim the bedroom lamp to 30 percent' }];
  return { messages, max_tokens: null, sampling: greedy, stop: [], response_format, ...more };
}

function of(schema: unknown): ResponseFormat {
  return { type: 'json_schema', schema };
}

const models = [
  ['random weights', () => tinyModelDir()],
  ['the model that ships', async () => shippedModel()],
] as const;

for (const [name, dir] of models)
  describe(`structured answers of ${name}`, () => {
    let engine: Engine;
    before(async () => {
      engine = await openEngine(await dir(), engineOptions);
    });
    after(() => engine.close());

    test('[SLMD-FMT-1] whatever the schema and the temperature, an answer that is whole is valid', async () => {
      const random = randomNumbers(7);
      const schemas = new RandomSchemas(random);
      const seen = { whole: 0, cut: 0 };
      for (let i = 0; i < 40; i++) {
        const schema = schemas.next();
        if (!('root' in readSchema(schema))) continue;
        const sampling = { ...greedy, temperature: (i % 4) / 2, seed: i, top_k: i % 3 === 0 ? 5 : 0 };
        const pieces: string[] = [];
        const { text, format_complete, finish_reason } = await engine.generate(
          ask(of(schema), { sampling }),
          {
            onTokens: (piece) => pieces.push(piece),
          },
        );
        assert.equal(pieces.join(''), text);
        assert.equal(finish_reason, format_complete ? 'stop' : 'length');
        if (format_complete)
          assert.ok(validatorOf(schema)(JSON.parse(text)), `${text} under ${JSON.stringify(schema)}`);
        seen[format_complete ? 'whole' : 'cut']++;
      }
      assert.ok(seen.whole > 10, JSON.stringify(seen));
    });

    test('[SLMD-FMT-1] json_object is an object', async () => {
      const { text, format_complete } = await engine.generate(
        ask({ type: 'json_object' }, { sampling: { ...greedy, temperature: 1, seed: 3 } }),
      );
      assert.ok(text.startsWith('{'));
      if (format_complete) assert.equal(typeof JSON.parse(text), 'object');
    });

    test('[SLMD-FMT-3] an answer that max_tokens or a stop text cuts is not whole, and one of exactly max_tokens is', async () => {
      const whole = await engine.generate(ask(of(lamp)));
      const { completion_tokens } = whole.usage;
      assert.ok(whole.format_complete);
      const same = await engine.generate(ask(of(lamp), { max_tokens: completion_tokens }));
      assert.deepEqual([same.text, same.finish_reason, same.format_complete], [whole.text, 'stop', true]);
      const cut = await engine.generate(ask(of(lamp), { max_tokens: completion_tokens - 1 }));
      assert.deepEqual([cut.finish_reason, cut.format_complete], ['length', false]);
      const stopped = await engine.generate(ask(of(lamp), { stop: ['room'] }));
      assert.deepEqual([stopped.text, stopped.format_complete], ['{"', false]);
    });
  });

test('[SLMD-FMT-1] the model that ships fills a schema it was not trained on', async (t) => {
  const engine = await openEngine(shippedModel(), engineOptions);
  t.after(() => engine.close());
  const { text } = await engine.generate(ask(of(lamp)));
  assert.equal(JSON.parse(text).percent, 30);
});
