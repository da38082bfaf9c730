import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { boardImage } from '../../scripts/device/board-image.ts';
import { flashedCard } from '../../scripts/device/flashed-card.ts';
import { bootFile } from '../support/card-image.ts';
import { certificate, startExampleBroker } from '../support/example-broker.ts';
import { Guest, guestPatience } from '../support/guest.ts';
import { Stage } from '../support/stage.ts';

const boards = [
  {
    name: 'Raspberry Pi 3',
    machine: 'raspi3b',
    model: /^Raspberry Pi 3 Model B/,
    profile: 'raspberry-pi-3',
    sensor: true,
  },
  {
    name: 'Raspberry Pi 4',
    machine: 'raspi4b',
    model: /^Raspberry Pi 4 Model B/,
    profile: 'raspberry-pi-4',
    sensor: false,
  },
] as const;

describe('a flashed card in a board with the peripherals and the device tree of a Raspberry Pi', () => {
  for (const { name, machine, model, profile, sensor } of boards)
    test(`comes up from the card in a ${name}, which has no clock, knows it by its device tree, and answers`, async (t) => {
      const flashed = flashedCard();
      assert.ok(flashed !== null, 'npm run test:device flashes the card that this boots');
      const stage = new Stage(t);
      const broker = stage.add(await startExampleBroker(flashed.certificates));
      const client = { ...certificate(flashed.certificates, 'home'), checkServerIdentity: () => undefined };
      const requester = await stage.requester({ url: `mqtts://localhost:${broker.port}`, client });
      const began = performance.now();
      const guest = new Guest({
        card: flashed.card,
        kernel: boardImage().kernel,
        commandLine: bootFile(flashed.card, 'cmdline.txt') ?? '',
        broker_port: broker.port,
        dir: stage.directory(),
        machine,
        forgets: true,
      });
      stage.add({ stop: async () => guest.kill() });
      await guest.whileUp(requester.ready(guestPatience));
      t.diagnostic(`${name}, power to ready: ${((performance.now() - began) / 1000).toFixed(0)} s`);
      const { board } = await requester.info(guestPatience);
      assert.match(board.model ?? '', model);
      assert.deepEqual([board.profile, board.profile_chosen_by], [profile, 'model']);
      // Under an id of this boot: the board remembers what it was asked before.
      const id = await requester.send({ id: `in-a-${profile}`, prompt: 'turn on the kitchen light' });
      const result = await guest.whileUp(requester.result(id, guestPatience));
      assert.equal(result.text, '{"action":"turn_on","target":"light","room":"kitchen"}');
      assert.equal(result.board.soc_temp_c !== null, sensor, `${result.board.soc_temp_c} °C`);
    });
});
