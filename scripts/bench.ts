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
import { type DeviceResult, deviceTable, measureDevice } from './bench/device.ts';
import { measureMemory, memoryTable } from './bench/memory.ts';
import { type BenchModels, buildBenchModels } from './bench/models/build.ts';
import { installPeer } from './bench/peers/install.ts';
import { type Clock, clocks } from './bench/peers/peer.ts';
import { type Column, columns, ownColumns, peerKinds } from './bench/peers/peers.ts';
import { plot } from './bench/plot.ts';
import { measureProfile, profileTable } from './bench/profile.ts';
import { comparisonTable, settingsLines } from './bench/report.ts';
import { measureSelf, rowsTable, type SelfResult, selfTable } from './bench/self.ts';
import { shapes } from './bench/shapes.ts';
import { median } from './bench/statistics.ts';
import { targetTable } from './bench/targets.ts';

const usage = `npm run bench [-- options]

  --only <name>     one of ${columns.join(', ')}, or several with commas
  --self            slmd alone instead: by context, block size, KV cache and rows, and a whole device beside its decoder
  --device          of --self only the last: a whole device beside its decoder, and what its memory consists of
  --memory          slmd alone instead: what an engine has in memory when its context is full, and what was foretold
  --profile         slmd alone instead: where the time of a run goes, by operator
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
const shapesAll = ['smollm2-135m', 'qwen2.5-0.5b'];

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: columns.join() },
    self: { type: 'boolean', default: false },
    device: { type: 'boolean', default: false },
    memory: { type: 'boolean', default: false },
    profile: { type: 'boolean', default: false },
    shape: { type: 'string' },
    threads: { type: 'string', default: String(chooseThreads()) },
    rounds: { type: 'string' },
    clock: { type: 'string', default: 'wall' },
    quick: { type: 'boolean', default: false },
    out: { type: 'string', default: join(root, 'bench-results') },
    help: { type: 'boolean', short: 'h', default: false },
  },
});
const options = {
  shapes: values.shape?.split(',') ?? (values.quick ? shapesAll.slice(0, 1) : shapesAll),
  columns: values.only.split(',').filter((name) => columns.some((column) => column === name)) as Column[],
  threads: Number(values.threads),
  rounds: Number(values.rounds ?? (values.quick ? 1 : 5)),
  clock: values.clock as Clock,
  decodeTokens: values.quick ? decodeTokensQuick : decodeTokens,
};
if (values.help) console.log(usage);
else if (!valid()) {
  console.error(usage);
  process.exitCode = 2;
} else await bench();

function valid(): boolean {
  const counts = [options.threads, options.rounds];
  return (
    options.columns.length === values.only.split(',').length &&
    options.shapes.every((shape) => Object.hasOwn(shapes, shape)) &&
    Object.hasOwn(clocks, options.clock) &&
    counts.every((count) => Number.isInteger(count) && count >= 1)
  );
}

async function bench(): Promise<void> {
  const { rounds, threads, clock } = options;
  const machine = describeMachine();
  console.log(
    `${machine}\n${rounds} round(s), ${threads} thread(s), ${clock} time, load average ${load()}\n`,
  );
  await mkdir(values.out, { recursive: true });
  const write = (file: string, text: string) => writeFile(join(values.out, file), text);
  if (values.profile) return profileAll();
  if (values.memory) return memoryAll();
  if (values.device) return console.log(deviceTable(await measureDevices()));
  if (values.self) {
    await write('self.json', JSON.stringify({ machine, ...(await measureAlone()) }, null, 2));
    console.log(`\nwritten: ${join(values.out, 'self.json')}`);
    return;
  }
  const comparisons = await compareAll();
  console.log(targetTable(comparisons));
  await write('results.json', JSON.stringify({ machine, comparisons }, null, 2));
  await write('plot.svg', plot(comparisons));
  console.log(`\nwritten: ${join(values.out, 'results.json')}, plot.svg`);
}

async function compareAll(): Promise<Comparison[]> {
  const comparisons: Comparison[] = [];
  for (const shape of options.shapes) {
    const comparison = await withProgress(shape, (models, onProgress) =>
      compare(shape, models, { ...options, packagesOf, onProgress }),
    );
    comparisons.push(comparison);
    for (const own of ownColumns.filter((column) => options.columns.includes(column)))
      console.log(`${comparisonTable(comparison, own)}\n`);
    for (const line of settingsLines(comparison)) console.log(`  ${line}`);
    console.log(
      `  load average at each round: ${comparison.loads.map((one) => one.toFixed(1)).join(', ')}\n`,
    );
  }
  return comparisons;
}

async function profileAll(): Promise<void> {
  for (const shape of options.shapes)
    await withProgress(shape, async ({ slmd }) => {
      for (const layout of ['block 32', 'block 128'] as const)
        console.log(`${profileTable(await measureProfile(shape, layout, slmd[layout], options.threads))}\n`);
    });
}

async function memoryAll(): Promise<void> {
  for (const shape of options.shapes)
    await withProgress(shape, async ({ slmd }) =>
      console.log(`${memoryTable(await measureMemory(shape, slmd))}\n`),
    );
}

async function measureDevices(): Promise<DeviceResult[]> {
  const devices: DeviceResult[] = [];
  for (const shape of options.shapes)
    devices.push(await withProgress(shape, ({ slmd }) => measureOne(shape, slmd)));
  return devices;
}

function measureOne(shape: string, slmd: BenchModels['slmd']): Promise<DeviceResult> {
  return measureDevice(shape, slmd['block 32'], options.threads, options.rounds);
}

async function measureAlone(): Promise<{ layouts: SelfResult[]; devices: DeviceResult[] }> {
  const layouts: SelfResult[] = [];
  const devices: DeviceResult[] = [];
  for (const shape of options.shapes) {
    const layout = await withProgress(shape, async (models, onProgress) => {
      devices.push(await measureOne(shape, models.slmd));
      return measureSelf(shape, models, { ...options, onProgress });
    });
    layouts.push(layout);
    const bandwidth = (median(layout.bandwidths) / 1e9).toFixed(1);
    console.log(selfTable(layout));
    console.log(`\n  memory read at ${bandwidth} GB/s with ${options.threads} thread(s)\n`);
    console.log(`${rowsTable(layout)}\n`);
  }
  console.log(deviceTable(devices));
  return { layouts, devices };
}

/** Builds a shape's models where that was not done yet, and shows how far the work on them is. */
async function withProgress<Result>(
  shape: string,
  work: (models: BenchModels, onProgress: (done: number, total: number) => void) => Promise<Result>,
): Promise<Result> {
  const models = await buildBenchModels(join(cache, 'models'), shape, (step) =>
    console.error(`building ${step}`),
  );
  const bar = new Progress(shape);
  const result = await work(models, (done, total) => bar.report(done, total));
  bar.end();
  return result;
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
