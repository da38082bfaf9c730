import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { engineEntry } from '../../src/lib/package-root.ts';
import { startEmbeddedBroker } from '../../src/mqtt/embedded-broker.ts';
import { writeGenaiModel, writeTransformersJsModel } from '../support/foreign-model.ts';
import { Stage } from '../support/stage.ts';
import { temporaryDir } from '../support/temporary.ts';

for (const [layout, write] of [
  ['onnx', writeTransformersJsModel],
  ['genai', writeGenaiModel],
] as const)
  test(`[SLMD-INF-1] a device serves a directory in the layout ${layout} as it lies, and says which layout it is`, async (t) => {
    const dir = join(temporaryDir(t), 'from-the-hub');
    await write(dir);
    const stage = new Stage(t);
    const { url } = stage.add(await startEmbeddedBroker());
    const requester = await stage.requester({ url, version: 4 });
    stage.daemon({ url, model_dir: dir, engine_entry: engineEntry() });
    await requester.ready();
    const { model } = await requester.info();
    assert.deepEqual([model?.id, model?.layout, model?.quantization], ['from-the-hub', layout, 'int4 b32']);
    const { status, model: answered } = await requester.ask('Hello');
    assert.deepEqual([status, answered], ['ok', 'from-the-hub']);
  });
