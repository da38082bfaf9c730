import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { pull } from '../../src/supply/pull.ts';
import { parseRepo } from '../../src/supply/repo.ts';
import { readSource } from '../../src/supply/source.ts';
import { commit, type Mischief, sha256, status } from '../support/fake-hub.ts';
import {
  assertComplete,
  assertFails,
  assertNoModel,
  files,
  large,
  limits,
  pulling,
  small,
  weights,
} from '../support/pulling.ts';

test('a model is pulled at its commit, complete, with a record of where it is from', async (t) => {
  const all = await pulling(t);
  const pulled = await all.pull();
  assertComplete(all);
  assert.deepEqual(
    [pulled.name, pulled.layout, pulled.unvouched, pulled.already],
    ['model-1m', 'safetensors', [], false],
  );
  const source = await readSource(pulled.dir);
  assert.deepEqual([source?.repo, source?.commit, source?.revision], [all.hub.repo, commit, 'main']);
  assert.deepEqual(source?.files[large], { sha256: sha256(weights), bytes: weights.length, vouched: true });
  assert.equal(
    all.progress.at(-1),
    [...all.hub.files.values()].reduce((sum, { length }) => sum + length, 0),
  );
  assert.deepEqual(await all.store.list().then((models) => models.map(({ state }) => state)), ['kept']);
});

test('the same model pulled again is already there; another one of its name is not replaced', async (t) => {
  const all = await pulling(t);
  await all.pull();
  const before = all.hub.requestsOf(large).length;
  assert.equal((await all.pull()).already, true);
  assert.equal(all.hub.requestsOf(large).length, before);
  const other = await pulling(t, { ...files, 'model.safetensors': 'others' });
  const { hub } = other;
  hub.api.set('/revision/', ({ response }) => {
    const siblings = [...hub.files.keys()].map((rfilename) => ({ rfilename }));
    response.writeHead(200).end(JSON.stringify({ siblings }));
  });
  hub.api.set('/tree/', status(404));
  const options = { token: null, user_agent: '', signal: new AbortController().signal };
  await assert.rejects(pull(parseRepo(hub.repo, hub.url, 'v2'), all.store, options), {
    code: 'model_exists',
  });
  assertComplete(all);
});

for (const [where, path] of [
  ['a small file', small],
  ['a large one', large],
] as const) {
  test(`a connection that breaks in ${where} goes on where it broke`, async (t) => {
    const all = await pulling(t);
    const bytes = path === large ? 2000 : 5;
    all.hub.mischief.set(path, [all.cutAfter(bytes, path), all.cutAfter(1, path)]);
    await all.pull();
    assertComplete(all);
    const ranges = all.hub
      .requestsOf(path)
      .flatMap(({ host, headers }) => (host === 'cdn' || path === small ? [headers.range] : []));
    assert.deepEqual(ranges, [undefined, `bytes=${bytes}-`, `bytes=${bytes + 1}-`]);
  });
}

test('what one command has downloaded, the next one goes on with', async (t) => {
  const all = await pulling(t);
  all.hub.mischief.set(large, [all.cutAfter(3000), status(500), status(500)]);
  await assertFails(all, 'server_failed');
  assert.ok(readdirSync(all.store.partialOf('model-1m')).includes(`${large}.part`));
  assert.deepEqual(
    (await all.store.list()).map(({ state }) => state),
    ['partial'],
  );
  const mark = all.hub.heard.length;
  await all.pull();
  assertComplete(all);
  const again = all.hub.heard.slice(mark).filter(({ host }) => host === 'cdn');
  assert.deepEqual(
    again.map(({ headers }) => headers.range),
    ['bytes=3000-'],
  );
});

test('a file that was changed while it came is downloaded from its start, and only the new one counts', async (t) => {
  const all = await pulling(t);
  const before = Buffer.alloc(weights.length, 7);
  all.hub.mischief.set(large, [
    (exchange) => all.cutAfter(2000)({ ...exchange, serve: () => exchange.serve(before, '"old"') }),
  ]);
  await all.pull();
  assertComplete(all);
});

test('a server that ignores If-Range gives pieces of two files, which is seen and mended', async (t) => {
  const all = await pulling(t);
  const before = Buffer.alloc(weights.length, 7);
  all.hub.mischief.set(large, [
    (exchange) => all.cutAfter(2000)({ ...exchange, serve: () => exchange.serve(before, '"same"') }),
    ({ serve }) => serve(weights, '"same"'),
  ]);
  await all.pull();
  assertComplete(all);
});

test('a file that is another each time ends the pull', async (t) => {
  const all = await pulling(t);
  const change =
    (i: number): Mischief =>
    (exchange) =>
      all.cutAfter(100 + i)({ ...exchange, serve: () => exchange.serve(weights, `"v${i}"`) });
  all.hub.mischief.set(
    large,
    Array.from({ length: 20 }, (_, i) => change(i)),
  );
  await assertFails(all, 'server_failed', { limits: { ...limits, attempts_max: 100 } });
});

test('a file with another hash than the listing has is never part of a model', async (t) => {
  for (const path of [small, large]) {
    const all = await pulling(t);
    const altered = Buffer.from(all.hub.files.get(path)!);
    altered[0]! ^= 1;
    all.hub.mischief.set(path, [({ serve }) => serve(altered)]);
    await assertFails(all, 'hash_mismatch');
    await all.pull();
    assertComplete(all);
  }
});

test('a file that is longer or shorter than the listing says is refused', async (t) => {
  for (const content of [Buffer.alloc(4999), Buffer.alloc(5001)]) {
    const all = await pulling(t);
    all.hub.mischief.set(large, [({ serve }) => serve(content)]);
    await assertFails(all, 'size_mismatch');
  }
  const endless = await pulling(t);
  endless.hub.mischief.set(large, [
    ({ response }) => void response.writeHead(200).end(Buffer.alloc(100_000)),
  ]);
  await assertFails(endless, 'size_mismatch');
});

test('errors of the server are waited out, as long as it asks for, and not for ever', async (t) => {
  const all = await pulling(t);
  all.hub.mischief.set(large, [status(503), status(429, { 'retry-after': '1' })]);
  all.hub.api.set(
    '/revision/',
    (() => {
      let failures = 2;
      return ({ response }) => {
        if (failures-- > 0) return void response.writeHead(502).end();
        all.hub.api.clear();
        response.writeHead(307, { location: all.hub.heard.at(-1)!.path }).end();
      };
    })(),
  );
  const started = performance.now();
  await all.pull();
  assertComplete(all);
  assert.ok(performance.now() - started >= 1000, 'it waited as it was told');

  const busy = await pulling(t);
  busy.hub.mischief.set(large, [status(429, { 'retry-after': '3600' })]);
  await assertFails(busy, 'rate_limited');
  assert.equal(busy.hub.requestsOf(large).filter(({ host }) => host === 'cdn').length, 1);
  const broken = await pulling(t);
  broken.hub.mischief.set(
    large,
    Array.from({ length: 9 }, () => status(500)),
  );
  await assertFails(broken, 'server_failed');
});

test('a server that is silent, or drips, has timed out', async (t) => {
  const quick = { ...limits, headers_ms: 100, attempts_max: 2 };
  const silent = await pulling(t);
  silent.hub.mischief.set(small, [() => undefined, () => undefined]);
  await assertFails(silent, 'timed_out', { limits: quick });
  const drip: Mischief = ({ response, content }) => {
    response.writeHead(200, { 'content-length': content.length });
    const timer = setInterval(() => response.write('x'), 10);
    response.on('close', () => clearInterval(timer));
  };
  const dripping = await pulling(t);
  dripping.hub.mischief.set(large, [drip, drip]);
  await assertFails(dripping, 'timed_out', { limits: { ...limits, stall_ms: 100, attempts_max: 2 } });
});

test('a model that does not fit is not begun, and one that fills the disk is said as that', async (t) => {
  const all = await pulling(t);
  await assertFails(all, 'disk_full', { freeBytes: async () => 64 * 1024 * 1024 + 100 });
  assert.equal(all.hub.requestsOf(large).length, 0);
  await all.pull({ freeBytes: async () => 64 * 1024 * 1024 + 10_000 });
});

test('a model that is being pulled is not pulled a second time meanwhile', async (t) => {
  const all = await pulling(t);
  const second = Promise.withResolvers<unknown>();
  all.hub.mischief.set(large, [
    ({ serve }) => {
      all
        .pull()
        .catch(second.resolve)
        .finally(() => serve());
    },
  ]);
  await all.pull();
  assert.equal(((await second.promise) as { code: string }).code, 'pull_running');
  assertComplete(all);
});

test('a pull that is interrupted ends at once with its reason, and can be gone on with', async (t) => {
  const all = await pulling(t);
  const interrupted = new AbortController();
  all.hub.mischief.set(large, [() => interrupted.abort(new Error('interrupted'))]);
  await assert.rejects(all.pull({ signal: interrupted.signal }), { message: 'interrupted' });
  await assertNoModel(all);
  await all.pull();
  assertComplete(all);
});

test('what an older revision left of a download is no part of the model', async (t) => {
  const all = await pulling(t);
  all.hub.mischief.set(
    large,
    Array.from({ length: 3 }, () => status(500)),
  );
  await assertFails(all, 'server_failed');
  all.hub.files.delete(small);
  await all.pull();
  assert.deepEqual(readdirSync(all.store.pathOf('model-1m')).toSorted(), [
    large,
    'slmd-source.json',
    'tokenizer.json',
  ]);
});
