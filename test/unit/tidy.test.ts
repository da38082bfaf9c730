import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  clauses,
  fileLength,
  findings,
  helpers,
  idlePermissions,
  importTable,
  islandShores,
  leftovers,
  machinePaths,
  packageDoors,
  rooms,
  type SourceFile,
} from '../../scripts/tidy.ts';

type Rule = (files: readonly SourceFile[]) => string[];

function house(...files: [path: string, text: string][]): SourceFile[] {
  return files.map(([path, text]) => ({ path, text }));
}

function tidy(rule: Rule, ...files: [string, string][]): void {
  assert.deepEqual(rule(house(...files)), []);
}

/** One finding, which names the file where it is. */
function untidy(rule: Rule, ...files: [string, string][]): void {
  const found = rule(house(...files));
  assert.equal(found.length, 1, JSON.stringify([found, files]));
  assert.ok(found[0]?.startsWith(files[0]?.[0] ?? '?'), found[0]);
}

test('a folder that is to stand alone imports nothing from outside it, of its own room either', () => {
  tidy(islandShores, ['src/onnx/ffi/a.ts', "import { b } from './b.ts';\nimport koffi from 'koffi';\n"]);
  tidy(islandShores, ['src/onnx/a.ts', "import { b } from './ffi/index.ts';\n"]);
  untidy(islandShores, ['src/onnx/ffi/a.ts', "import { g } from '../graph.ts';\n"]);
  untidy(islandShores, ['src/onnx/ffi/a.ts', "import type { l } from '../../lib/logger.ts';\n"]);
});

test('a room may import from itself and from the rooms that the table gives it', () => {
  tidy(
    importTable,
    ['src/queue/a.ts', "import { b } from './b.ts';\nimport type { C } from '../contract/c.ts';\n"],
    ['src/daemon.ts', "import { Q } from './queue/queue.ts';\nimport { s } from './serve.ts';\n"],
    ['src/queue/text.ts', 'const text = "import { a } from \'../mqtt/a.ts\'";\n'],
    ['test/unit/a.test.ts', "import { a } from '../../src/mqtt/client.ts';\n"],
  );
});

test('a room that imports from another one is found, however the import is written', () => {
  for (const text of [
    "import { a } from '../mqtt/client.ts';",
    "import type { A } from '../mqtt/client.ts';",
    "import {\n  a,\n  b,\n} from '../mqtt/client.ts';",
    "export { a } from '../mqtt/client.ts';",
    "export * from '../mqtt/client.ts';",
    "import '../mqtt/client.ts';",
    "const a = await import('../mqtt/client.ts');",
    "type A = import('../mqtt/client.ts').A;",
  ])
    untidy(importTable, ['src/queue/a.ts', `${text}\n`]);
});

test('the daemon does not import the engine, a room not the top, and nothing what is outside src', () => {
  untidy(importTable, ['src/daemon.ts', "import { e } from './engine/main.ts';\n"]);
  untidy(importTable, ['src/mqtt/a.ts', "import { d } from '../daemon.ts';\n"]);
  untidy(importTable, ['src/lib/a.ts', "import { t } from '../../test/a.ts';\n"]);
  untidy(importTable, ['src/newroom/a.ts', "import { t } from '../lib/errors.ts';\n"]);
});

test('what a room may import and does not is found, once for all of its files', () => {
  const contract: [string, string] = ['src/queue/a.ts', "import type { C } from '../contract/c.ts';\n"];
  tidy(idlePermissions, contract, ['src/queue/b.ts', "import { b } from '../lib/b.ts';\n"]);
  assert.equal(idlePermissions(house(contract, ['src/queue/b.ts', ''])).length, 1);
  tidy(idlePermissions, ['src/lib/a.ts', '']);
});

test('a room that the architecture does not name is found, and a helper that the README of the tests does not', () => {
  const architecture: [string, string] = ['src/ARCHITECTURE.md', '| `serve.ts` | x |\n| `queue/` | y |\n'];
  tidy(rooms, architecture, ['src/serve.ts', ''], ['src/queue/a.ts', ''], ['src/queue/b.ts', '']);
  untidy(rooms, architecture, ['src/mqtt/a.ts', ''], ['src/mqtt/b.ts', '']);
  untidy(rooms, architecture, ['src/uplink.ts', '']);
  const readme: [string, string] = ['test/README.md', '`stage.ts`, `tiny-*.ts`'];
  tidy(helpers, readme, ['test/support/stage.ts', ''], ['test/support/tiny-model.ts', '']);
  untidy(helpers, readme, ['test/support/wait.ts', '']);
});

test('a package is imported at its door, and what Node brings anywhere', () => {
  tidy(
    packageDoors,
    ['src/mqtt/client.ts', "import mqtt from 'mqtt';\nimport { readFileSync } from 'node:fs';\n"],
    ['src/config/schema.ts', "import * as z from 'zod';\n"],
    ['src/model/t.ts', "import { T } from '@huggingface/tokenizers';\n"],
  );
});

test('a package that is imported elsewhere, or has no door, is found', () => {
  untidy(packageDoors, ['src/mqtt/outbox.ts', "import mqtt from 'mqtt';\n"]);
  untidy(packageDoors, ['src/serve.ts', "import { z } from 'zod/v4';\n"]);
  untidy(packageDoors, ['src/serve.ts', "import { T } from '@huggingface/tokenizers';\n"]);
  untidy(packageDoors, ['src/serve.ts', "import _ from 'lodash';\n"]);
  untidy(packageDoors, ['src/serve.ts', "const _ = require('lodash');\n"]);
});

test('a file of up to 350 lines is not too long, one of more is', () => {
  tidy(fileLength, ['src/a.ts', 'x\n'.repeat(350)], ['README.md', 'x\n'.repeat(999)]);
  untidy(fileLength, ['src/a.ts', 'x\n'.repeat(351)]);
  untidy(fileLength, ['test/a.test.ts', 'x\n'.repeat(351)]);
});

test('what was left for later is found in any file, with its line', () => {
  for (const left of [
    '// TODO: later',
    '// FIXME',
    'XXX',
    'throw new Error("not implemented");',
    'test.only(',
  ])
    untidy(leftovers, ['src/a.ts', `fine\n${left}\n`]);
  assert.match(leftovers(house(['src/a.ts', 'fine\n// TODO\n']))[0] ?? '', /^src\/a\.ts:2:/);
  tidy(leftovers, ['src/a.ts', 'const toDo = 1; // TODOS, a word of its own\n']);
});

test('a path of somebody’s machine or the host of a registry is found', () => {
  for (const line of [
    '/home/pi/slmd',
    "cd '/root/x'",
    '/work/a/b',
    'https://registry.npmjs.org',
    'deb.debian.org',
  ])
    untidy(machinePaths, ['README.md', `${line}\n`]);
  tidy(machinePaths, ['README.md', 'src/home/a/b\n/etc/slmd/slmd.yaml\n/var/lib/slmd\n']);
});

test('a clause that no test carries is found; the number must be the whole number', () => {
  const contract: [string, string] = [
    'src/contract/CONTRACT.md',
    '- **[SLMD-REQ-1]** One.\n- **[SLMD-REQ-12]** Two.\n',
  ];
  const carrier: [string, string] = ['test/a.test.ts', "test('[SLMD-REQ-1] x');"];
  tidy(clauses, contract, ['test/a.test.ts', "test('[SLMD-REQ-1] x'); test('[SLMD-REQ-12] y');"]);
  untidy(clauses, contract, carrier);
  untidy(clauses, contract, ['test/a.test.ts', "test('[SLMD-REQ-12] y');"]);
  untidy(clauses, contract, carrier, ['test/support/b.ts', '[SLMD-REQ-12]']);
  tidy(clauses, ['README.md', '**[SLMD-REQ-1]**']);
});

test('a house with several faults has a finding for each', () => {
  // Two of them: the room of the queue may import from two others, and does not.
  const files = house(
    ['src/queue/a.ts', "import { a } from '../mqtt/client.ts';\nimport _ from 'lodash';\n// TODO\n"],
    ['src/contract/CONTRACT.md', '**[SLMD-REQ-1]**\n'],
  );
  assert.equal(findings(files).length, 6);
});
