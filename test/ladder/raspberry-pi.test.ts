import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { boardImage } from '../../scripts/device/board-image.ts';
import { flashedCard } from '../../scripts/device/flashed-card.ts';
import { bootFile } from '../support/card-image.ts';
import { certificate, startExampleBroker } from '../support/example-broker.ts';
import { Guest, guestPatience } from '../support/guest.ts';
import { TestRequester } from '../support/requester.ts';

describe('a flashed card in a board with the peripherals and the device tree of a Raspberry Pi', () => {
  test('comes up from the card in a Raspberry Pi 3, which has no clock, knows it by its device tree, and answers', async (t) => {
    const flashed = flashedCard();
    assert.ok(flashed !== null, 'npm run test:device flashes the card that this boots');
    const dir = mkdtempSync(join(tmpdir(), 'slmd-pi-'));
    t.after(() => rmSync(dir, { recursive: true, force: true }));
    const broker = await startExampleBroker(flashed.certificates);
    t.after(() => broker.stop());
    const client = { ...certificate(flashed.certificates, 'home'), checkServerIdentity: () => undefined };
    const requester = await TestRequester.connect({ url: `mqtts://localhost:${broker.port}`, client });
    t.after(() => requester.close());
    const began = performance.now();
    const guest = new Guest({
      card: flashed.card,
      kernel: boardImage().kernel,
      commandLine: bootFile(flashed.card, 'cmdline.txt') ?? '',
      broker_port: broker.port,
      dir,
      machine: 'raspi3b',
      forgets: true,
    });
    t.after(() => guest.kill());
    await guest.whileUp(requester.ready(guestPatience));
    t.diagnostic(`power to ready: ${((performance.now() - began) / 1000).toFixed(0)} s`);
    const { board } = await requester.info(guestPatience);
    assert.match(board.model ?? '', /^Raspberry Pi 3 Model B/);
    assert.equal(board.profile, 'raspberry-pi-3');
    const id = await requester.send('turn on the kitchen light');
    const { text } = await guest.whileUp(requester.result(id, guestPatience));
    assert.equal(text, '{"action":"turn_on","target":"light","room":"kitchen"}');
  });
});
