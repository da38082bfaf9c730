/**
 * The house checker: holds the rules of `src/ARCHITECTURE.md` that a machine can hold.
 *
 * It prints one line per finding and exits 1 where there is any. Each rule is a pure function over
 * files, so that `test/unit/tidy.test.ts` can show it a house that breaks the rule.
 */

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join, matchesGlob, normalize } from 'node:path';

export interface SourceFile {
  /** Relative to the repository's root, with forward slashes. */
  path: string;
  text: string;
}

/** Which rooms a room may import from, besides itself. `.` is the top level of `src/`. */
export const imports: Record<string, readonly string[]> = {
  '.': [
    'cli',
    'config',
    'contract',
    'journal',
    'lib',
    'mqtt',
    'queue',
    'supervisor',
    'supply',
    'telemetry',
    'ipc',
  ],
  // The command line is the top of the house: each command composes what it needs.
  cli: [
    '.',
    'builder',
    'config',
    'contract',
    'doctor',
    'engine',
    'flash',
    'ipc',
    'lib',
    'model',
    'mqtt',
    'oracle',
    'supervisor',
    'supply',
    'telemetry',
  ],
  builder: ['lib', 'model', 'onnx'],
  config: ['contract', 'lib'],
  contract: [],
  // It looks at every room that a device depends on, as the daemon uses them.
  doctor: ['config', 'contract', 'ipc', 'lib', 'model', 'mqtt', 'supervisor', 'supply', 'telemetry'],
  engine: ['grammar', 'ipc', 'lib', 'model', 'onnx'],
  // It runs on the computer of whoever flashes, and shares nothing with a device but names.
  flash: ['contract', 'lib'],
  grammar: ['contract', 'lib'],
  ipc: ['contract'],
  journal: ['contract', 'lib'],
  lib: [],
  model: ['ipc', 'lib', 'onnx'],
  mqtt: ['contract', 'lib'],
  onnx: ['lib'],
  oracle: ['lib', 'model', 'onnx'],
  queue: ['contract', 'lib'],
  supply: ['ipc', 'lib', 'model'],
  supervisor: ['contract', 'ipc', 'lib'],
  telemetry: ['contract', 'lib'],
};

/** The only files, or rooms, that may import an outside package. */
export const doors: Record<string, readonly string[]> = {
  mqtt: ['src/mqtt/client.ts'],
  'mqtt-packet': ['src/mqtt/intake.ts'],
  aedes: ['src/mqtt/embedded-broker.ts'],
  'onnxruntime-node': ['src/onnx/'],
  'onnxruntime-common': ['src/onnx/'],
  koffi: ['src/onnx/ffi/', 'src/lib/service-manager.ts', 'src/lib/own-memory.ts'],
  pino: ['src/lib/logger.ts'],
  'pino-pretty': ['src/lib/logger.ts'],
  zod: [
    'src/contract/',
    'src/config/',
    'src/ipc/',
    'src/model/',
    'src/builder/',
    'src/supply/',
    'src/cli/',
    'src/flash/',
  ],
  yaml: ['src/config/', 'src/cli/', 'src/flash/'],
  'csv-parse': ['src/flash/boards.ts'],
  '@huggingface/tokenizers': ['src/model/'],
  '@huggingface/jinja': ['src/model/'],
  '@mlc-ai/web-xgrammar': ['src/grammar/xgrammar.ts'],
};

/** Folders that are written to be packages of their own: they import nothing of the rest. */
const islands = ['src/onnx/ffi/'];

/** A file of more lines than this holds more than one noun. */
const linesMax = 350;

export function findings(files: readonly SourceFile[]): string[] {
  const rules = [
    importTable,
    idlePermissions,
    islandShores,
    packageDoors,
    fileLength,
    leftovers,
    machinePaths,
    clauses,
    rooms,
    helpers,
  ];
  return rules.flatMap((rule) => rule(files));
}

export function importTable(files: readonly SourceFile[]): string[] {
  return sources(files).flatMap((file) => {
    const from = roomOf(file.path);
    return targetsOf(file).flatMap((target) => {
      if (!target.startsWith('src/')) return [`${file.path}: imports ${target}, which is outside src/`];
      const to = roomOf(target);
      if (from === to || imports[from]?.includes(to)) return [];
      return [`${file.path}: the room ${from} must not import from the room ${to} (${target})`];
    });
  });
}

/** What a room may import and does not: the table would say more than is true. */
export function idlePermissions(files: readonly SourceFile[]): string[] {
  const used = new Map<string, Set<string>>();
  for (const file of sources(files)) {
    const from = roomOf(file.path);
    used.set(from, new Set([...(used.get(from) ?? []), ...targetsOf(file).map(roomOf)]));
  }
  return [...used].flatMap(([from, to]) =>
    (imports[from] ?? [])
      .filter((room) => !to.has(room))
      .map((room) => `scripts/tidy.ts: the room ${from} may import from the room ${room}, and does not`),
  );
}

export function islandShores(files: readonly SourceFile[]): string[] {
  return sources(files).flatMap((file) => {
    const island = islands.find((folder) => file.path.startsWith(folder));
    if (island === undefined) return [];
    return targetsOf(file)
      .filter((target) => !target.startsWith(island))
      .map((target) => `${file.path}: imports ${target}, and ${island} is to stand alone`);
  });
}

export function packageDoors(files: readonly SourceFile[]): string[] {
  return sources(files).flatMap((file) =>
    importsOf(file).flatMap((specifier) => {
      if (specifier.startsWith('.') || specifier.startsWith('node:')) return [];
      const name = specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/');
      const allowed = doors[name];
      if (allowed === undefined) return [`${file.path}: the package ${name} has no door in scripts/tidy.ts`];
      return allowed.some((door) => file.path.startsWith(door))
        ? []
        : [`${file.path}: the package ${name} is imported only in ${allowed.join(', ')}`];
    }),
  );
}

export function fileLength(files: readonly SourceFile[]): string[] {
  return files
    .filter(({ path }) => path.endsWith('.ts'))
    .flatMap(({ path, text }) => {
      const lines = text.split('\n').length - 1;
      return lines > linesMax
        ? [`${path}: ${lines} lines; a file of more than ${linesMax} holds more than one noun`]
        : [];
    });
}

const leftover = /@@\w+@@|\b(TODO|FIXME|XXX|not implemented|test\.only|it\.only)\b/;

export function leftovers(files: readonly SourceFile[]): string[] {
  return linesWhere(files, leftover, 'is left over');
}

/** The project does not know where it lies, or where its packages come from. */
const machine = /(?<![\w.])\/(work|root|home\/[a-z]+|tmp\/[a-z]+)\/|registry\.npmjs|deb\.debian/;

export function machinePaths(files: readonly SourceFile[]): string[] {
  return linesWhere(files, machine, 'names a machine');
}

/** Every clause of the contract is proved by a test that carries its number. */
export function clauses(files: readonly SourceFile[]): string[] {
  const contract = files.find(({ path }) => path === 'src/contract/CONTRACT.md');
  if (contract === undefined) return [];
  const tests = files.filter(({ path }) => path.startsWith('test/') && path.endsWith('.test.ts'));
  return [...contract.text.matchAll(/\*\*\[(SLMD-[A-Z]+-\d+)\]\*\*/g)].flatMap(([, clause]) =>
    tests.some(({ text }) => text.includes(`[${clause}]`))
      ? []
      : [`${contract.path}: no test carries [${clause}]`],
  );
}

/** Every room of `src/`, and every file at its top, has a line in the architecture. */
export function rooms(files: readonly SourceFile[]): string[] {
  const names = sources(files).map(
    ({ path }) => path.split('/')[1] + (path.split('/').length > 2 ? '/' : ''),
  );
  return undescribed(files, 'src/ARCHITECTURE.md', names);
}

/** So has every helper of the tests in their README. */
export function helpers(files: readonly SourceFile[]): string[] {
  const names = files.flatMap(({ path }) => /^test\/support\/(.+)$/.exec(path)?.[1] ?? []);
  return undescribed(files, 'test/README.md', names);
}

/** Names that a document does not have in code marks, where `*` stands for any part. */
function undescribed(files: readonly SourceFile[], document: string, names: readonly string[]): string[] {
  const text = files.find(({ path }) => path === document)?.text;
  if (text === undefined) return [];
  const marked = [...text.matchAll(/`([^`\n]+)`/g)].map(([, mark = '']) => mark);
  return [...new Set(names)]
    .filter((name) => !marked.some((mark) => matchesGlob(name, mark)))
    .map((name) => `${document}: nothing is said of ${name}`);
}

function sources(files: readonly SourceFile[]): SourceFile[] {
  return files.filter(({ path }) => path.startsWith('src/') && path.endsWith('.ts'));
}

function roomOf(path: string): string {
  const parts = path.split('/');
  return parts.length > 2 ? (parts[1] ?? '.') : '.';
}

/** The files of the repository that a file imports. */
function targetsOf(file: SourceFile): string[] {
  return importsOf(file)
    .filter((specifier) => specifier.startsWith('.'))
    .map((specifier) => normalize(join(dirname(file.path), specifier)));
}

function importsOf({ text }: SourceFile): string[] {
  const pattern =
    /^\s*(?:import|export)\b[^;'"]*?from\s+['"]([^'"]+)['"]|\bimport\s*\(\s*['"]([^'"]+)['"]\s*\)|^import\s+['"]([^'"]+)['"]|\brequire\(\s*['"]([^'"]+)['"]\s*\)/gm;
  return [...text.matchAll(pattern)].flatMap((match) =>
    match.slice(1).filter((specifier) => specifier !== undefined),
  );
}

function linesWhere(files: readonly SourceFile[], pattern: RegExp, what: string): string[] {
  return files.flatMap(({ path, text }) =>
    text
      .split('\n')
      .flatMap((line, i) =>
        pattern.test(line) ? [`${path}:${i + 1}: ${what}: ${line.trim().slice(0, 100)}`] : [],
      ),
  );
}

function repositoryFiles(): SourceFile[] {
  const root = join(import.meta.dirname, '..');
  const listed = spawnSync('git', ['ls-files', '-co', '--exclude-standard'], { cwd: root, encoding: 'utf8' });
  return listed.stdout
    .split('\n')
    .filter(
      (path) => /\.(ts|mjs|cjs|py|sh|md|yaml|json|jinja)$/.test(path) && !/package-lock|^models\//.test(path),
    )
    .filter((path) => path !== 'scripts/tidy.ts' && path !== 'test/unit/tidy.test.ts')
    .map((path) => ({ path, text: readFileSync(join(root, path), 'utf8') }));
}

if (import.meta.main) {
  const found = findings(repositoryFiles());
  for (const line of found) console.error(line);
  if (found.length === 0) console.log('the house is tidy');
  process.exitCode = found.length === 0 ? 0 : 1;
}
