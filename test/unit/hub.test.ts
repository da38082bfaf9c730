import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { pull } from '../../src/supply/pull.ts';
import { parseRepo } from '../../src/supply/repo.ts';
import { commit, type Mischief, status } from '../support/fake-hub.ts';
import {
  assertComplete,
  assertFails,
  files,
  large,
  limits,
  pulling,
  small,
  weights,
} from '../support/pulling.ts';

test('what is not there, not allowed or no hub at all is said by its code, at once', async (t) => {
  for (const [code, headers, expected] of [
    [404, {}, 'repo_not_found'],
    [401, { 'x-error-code': 'RepoNotFound' }, 'repo_not_found'],
    [401, { 'x-error-code': 'GatedRepo' }, 'access_denied'],
    [403, {}, 'access_denied'],
    [400, {}, 'server_failed'],
  ] as const) {
    const all = await pulling(t);
    all.hub.api.set('/revision/', status(code, headers));
    await assertFails(all, expected);
    assert.equal(all.hub.heard.length, 1, `${code} is not asked for again`);
  }
  for (const body of ['<html>', '{}', '[]', '{"siblings":[{}]}']) {
    const all = await pulling(t);
    all.hub.api.set('/revision/', ({ response }) => void response.writeHead(200).end(body));
    await assertFails(all, 'listing_invalid');
  }
});

test('a mirror that nobody answers at is said as a network that fails', async (t) => {
  const all = await pulling(t);
  const repo = parseRepo('a/b', 'http://127.0.0.1:1');
  const signal = new AbortController().signal;
  await assert.rejects(pull(repo, all.store, { token: null, user_agent: '', signal, limits }), {
    code: 'network_failed',
  });
});

test('the token goes to the mirror, and not to where the mirror sends', async (t) => {
  const all = await pulling(t);
  await all.pull({ token: 'hf_secret' });
  assert.ok(all.hub.heard.some(({ host }) => host === 'cdn'));
  for (const { host, headers } of all.hub.heard)
    assert.equal(headers.authorization, host === 'hub' ? 'Bearer hf_secret' : undefined);
});

test('a redirect that comes back from another host does not bring the token back', async (t) => {
  const all = await pulling(t);
  const back: Mischief = ({ response }) =>
    void response
      .writeHead(302, { location: `${all.hub.url}/${all.hub.repo}/resolve/${commit}/${small}` })
      .end();
  all.hub.mischief.set(large, [back, back, back]);
  await assert.rejects(all.pull({ token: 'hf_secret' }), { code: 'size_mismatch' });
  const last = all.hub.requestsOf(small).find(({ headers }) => headers.authorization === undefined);
  assert.ok(last !== undefined);
});

test('an address of another server than the configured one does not get the token', async (t) => {
  const all = await pulling(t);
  const elsewhere = await pulling(t);
  await all.pull({ token: 'hf_secret' }, `${elsewhere.hub.url}/${elsewhere.hub.repo}`);
  assert.ok(elsewhere.hub.heard.length > 0);
  for (const { headers } of elsewhere.hub.heard) assert.equal(headers.authorization, undefined);
});

test('redirects without an end, or to what is no web address, are not followed', async (t) => {
  for (const to of ['file:///etc/passwd', 'http://user:pw@127.0.0.1/', 'http://']) {
    const all = await pulling(t);
    all.hub.redirect = () => to;
    await assertFails(all, 'redirect_refused');
  }
  const all = await pulling(t);
  all.hub.redirect = (path) => `${all.hub.url}/${all.hub.repo}/resolve/${commit}/${path}`;
  await assertFails(all, 'redirect_refused');
});

test('a listing that names files outside the model is refused before anything is written', async (t) => {
  const paths = ['../x', '/etc/x', 'a/../../x', 'a//b', './x', 'a\\b', 'x\0', '', '.', `${'a/'.repeat(9)}b`];
  for (const path of [...paths, small, `${small}/x`, 'x'.repeat(300)]) {
    const all = await pulling(t);
    all.hub.extra = [{ type: 'file', path, size: 1, oid: '' }];
    await assertFails(all, 'listing_invalid');
    assert.ok(!existsSync(all.store.dir), JSON.stringify(path));
  }
});

test('a link in a repository is not there, and its target is not read', async (t) => {
  const all = await pulling(t, { [small]: files[small] });
  all.hub.extra = [{ type: 'symlink', path: large, size: 11, oid: '' }];
  await assertFails(all, 'nothing_to_pull');
});

test('a list of many files is read page by page, and one without an end is not', async (t) => {
  const all = await pulling(t);
  all.hub.pageSize = 1;
  await all.pull();
  assertComplete(all);
  const endless = await pulling(t);
  endless.hub.extra = Array.from({ length: 12_000 }, (_, i) => ({ type: 'file', path: `f${i}`, size: 1 }));
  await assertFails(endless, 'listing_invalid');
  const fat = await pulling(t);
  fat.hub.api.set(
    '/tree/',
    ({ response }) => void response.writeHead(200).end(Buffer.alloc(17 * 1024 * 1024, ' ')),
  );
  await assertFails(fat, 'listing_invalid');
});

test('a plain mirror without a tree is believed in what it says of each file', async (t) => {
  const all = await pulling(t);
  all.hub.api.set('/tree/', status(404));
  const { unvouched } = await all.pull();
  assertComplete(all);
  assert.deepEqual(unvouched, []);
  const altered = await pulling(t);
  altered.hub.api.set('/tree/', status(404));
  altered.hub.mischief.set(large, [({ serve }) => serve(Buffer.alloc(weights.length), '"x"')]);
  await assertFails(altered, 'hash_mismatch');
  const bare = await pulling(t);
  bare.hub.api.set('/tree/', status(404));
  bare.hub.mischief.set(small, [({ serve, content }) => serve(content, '"1"')]);
  assert.deepEqual((await bare.pull()).unvouched, [small]);
});
