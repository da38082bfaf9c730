/**
 * `npm run bench [-- options]`: slmd beside what else runs language models in Node, on this machine.
 *
 * Models of known shapes with random weights, the same for all, are built once; the peers are installed,
 * by exact versions, into `.cache/bench`. Prints medians and ratios, and writes them with every sample as
 * JSON, and a plot. Speeds are true of any weights; nothing is said of language.
 */

import { mkdir, writeFile } from 'node:fs/promises';
import { cpus, loadavg, totalmem } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Progress } from '../src/cli/progress.ts';
import { chooseThreads } from '../src/onnx/threads.ts';
import { type Comparison, compare } from './bench/compare.ts';
import { buildBenchModels } from './bench/models/build.ts';
import { installPeer } from './bench/peers/install.ts';
import { columns, peerKinds } from './bench/peers/peers.ts';
import { plot } from './bench/plot.ts';
import { comparisonTable, settingsLines } from './bench/report.ts';
import { targetTable } from './bench/targets.ts';

const usage = `npm run bench [-- options]

  --only <name>     one of ${columns.join(', ')}, or several with commas
  --shape <name>    one of the shapes, or several with commas (default: smollm2-135m,qwen2.5-0.5b)
  --threads <n>     threads of every peer (default: one for each core, at most 4)
  --rounds <n>      how often everything is measured (default: 5)
  --clock <name>    wall (default), or processor: with one thread, what a busy machine would do alone
  --quick           one round of the smaller shape, with short answers
  --out <dir>       where results.json and plot.svg are written (default: bench-results)`;

const root = join(import.meta.dirname, '..');
const cache = join(root, '.cache', 'bench');
const decodeTokens = 48;
const decodeTokensQuick = 12;

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: columns.join() },
    shape: { type: 'string' },
    threads: { type: 'string', default: String(chooseThreads()) },
    rounds: { type: 'string' },
    clock: { type: 'string', default: 'wall' },
    quick: { type: 'boolean', default: false },
    out: { type: 'string', default: join(root, 'bench-results') },
    help: { type: 'boolean', short: 'h', default: false },
  },
});
if (values.help) console.log(usage);
else await bench();

async function bench(): Promise<void> {
  const only = values.only.split(',');
  const known = only.map((name) => columns.find((column) => column === name));
  const [threads, rounds] = [Number(values.threads), Number(values.rounds ?? (values.quick ? 1 : 5))];
  const clock = values.clock === 'processor' ? 'processor' : 'wall';
  if (known.includes(undefined) || values.clock !== clock || !(threads >= 1) || !(rounds >= 1)) {
    console.error(usage);
    process.exitCode = 2;
    return;
  }
  const machine = describeMachine();
  console.log(
    `${machine}\n${rounds} round(s), ${threads} thread(s), ${clock} time, load average ${load()}\n`,
  );
  const comparisons: Comparison[] = [];
  for (const shape of (values.shape ?? (values.quick ? 'smollm2-135m' : 'smollm2-135m,qwen2.5-0.5b')).split(
    ',',
  )) {
    const models = await buildBenchModels(join(cache, 'models'), shape, (step) =>
      console.error(`building ${step}`),
    );
    const bar = new Progress(shape);
    const comparison = await compare(shape, models, {
      threads,
      clock,
      rounds,
      decodeTokens: values.quick ? decodeTokensQuick : decodeTokens,
      columns: known.filter((column) => column !== undefined),
      packagesOf,
      onProgress: (done, total) => bar.report(done, total),
    });
    bar.end();
    comparisons.push(comparison);
    console.log(`${comparisonTable(comparison)}\n`);
    for (const line of settingsLines(comparison)) console.log(`  ${line}`);
    console.log(`  load average at each round: ${comparison.loads.map((l) => l.toFixed(1)).join(', ')}\n`);
  }
  console.log(targetTable(comparisons));
  await mkdir(values.out, { recursive: true });
  await writeFile(join(values.out, 'results.json'), JSON.stringify({ machine, comparisons }, null, 2));
  await writeFile(join(values.out, 'plot.svg'), plot(comparisons));
  console.log(`\nwritten: ${join(values.out, 'results.json')}, plot.svg`);
}

async function packagesOf(name: string): Promise<string> {
  const { packages } = peerKinds[name]!;
  return packages === null ? root : installPeer(cache, packages);
}

function describeMachine(): string {
  const [{ model = 'unknown processor' } = {}, ...others] = cpus();
  return `${model.trim()}, ${others.length + 1} core(s), ${(totalmem() / 1e9).toFixed(0)} GB, Node ${process.version}`;
}

function load(): string {
  return loadavg()
    .map((minutes) => minutes.toFixed(1))
    .join(', ');
}
