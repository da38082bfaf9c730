/**
 * Activates a model and is killed at a step of the disk: `<store> <model> <step>`. A file that is being
 * written at that step is half there. With a step that is never reached it ends as any other command.
 */

import { writeFileSync } from 'node:fs';
import { activate } from '../../src/supply/activate.ts';
import { type Disk, realDisk } from '../../src/supply/pointer.ts';
import { ModelStore } from '../../src/supply/store.ts';

const [dir = '', name = '', step = ''] = process.argv.slice(2);
let steps = 0;

function killedAt(): boolean {
  return ++steps === Number(step);
}

function die(): never {
  process.kill(process.pid, 'SIGKILL');
  for (;;);
}

const disk: Disk = {
  write: (path, text) => {
    if (killedAt()) {
      writeFileSync(path, text.slice(0, text.length / 2));
      die();
    }
    realDisk.write(path, text);
  },
  rename: (from, to) => {
    if (killedAt()) die();
    realDisk.rename(from, to);
  },
  sync: (path) => {
    if (killedAt()) die();
    realDisk.sync(path);
  },
};

await activate(new ModelStore(dir, disk), name, { trust: null, tryModel: async () => undefined, disk });
