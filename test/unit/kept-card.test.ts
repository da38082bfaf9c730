import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { temporaryDir } from '../support/temporary.ts';

test('a card is booted again while the tree makes the package that it was flashed with, and no longer', async (t) => {
  const cache = temporaryDir(t);
  process.env.XDG_CACHE_HOME = cache;
  t.after(() => delete process.env.XDG_CACHE_HOME);
  const { flashedCard, keepFlashed } = await import('../../scripts/device/flashed-card.ts');
  const made = join(cache, 'slmd/device/packages/first/slmd_0.0.1_arm64.deb');
  const makePackage = (content: string) => {
    mkdirSync(dirname(made), { recursive: true });
    writeFileSync(made, content);
  };
  const flash = (content: string) => {
    const flashed = temporaryDir(t, { 'card.img': content, 'certificates/ca.pem': 'a CA' });
    keepFlashed({ card: join(flashed, 'card.img'), certificates: join(flashed, 'certificates') });
  };
  makePackage('as it was');
  assert.equal(flashedCard(), null);
  flash('a card');
  const kept = flashedCard();
  assert.equal(readFileSync(kept?.card ?? '', 'utf8'), 'a card');
  assert.ok(existsSync(join(kept?.certificates ?? '', 'ca.pem')));
  makePackage('as it is');
  assert.equal(flashedCard(), null);
  flash('another card');
  assert.equal(readFileSync(flashedCard()?.card ?? '', 'utf8'), 'another card');
  makePackage('as it was');
  assert.equal(flashedCard(), null, 'the card that was kept before is gone');
});
