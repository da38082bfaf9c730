/**
 * `npm run test:device [-- --tier N …]`: what can be known of slmd on a board without a board, tier by tier.
 *
 * Each tier brings what it needs, cached outside the tree, and is skipped with the reason where a machine does not
 * let it: that says nothing of slmd. The table at the end is the one of devices/README.md.
 */

import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { installHint, installMissing } from './debian.ts';
import { alone } from './device/alone.ts';
import { boardImage } from './device/board-image.ts';
import { emulator, teachKernel } from './device/emulator.ts';
import { Missing } from './device/fetch.ts';
import { flashedCard } from './device/flashed-card.ts';
import { machineEmulator } from './device/machine-emulator.ts';
import { buildTestPackages, buildTwice } from './device/packages.ts';
import { rootFileSystem } from './device/root-file-system.ts';

const root = join(import.meta.dirname, '..');

const usage = `npm run test:device [-- --tier N …]

  --tier 0  unit file, profiles, sandbox and package, without an emulator
  --tier 1  the package's programs on an emulated Cortex-A72 and Cortex-A76
  --tier 2  the package in an arm64 Debian: installed, asked, upgraded under load, removed, purged
  --tier 3  a board of 512 MB that was flashed before: its service in its sandbox, an upgrade, its memory
  --tier 4  a card from slmd flash to the first answer, and what it leaves and whom it speaks to
  --tier 5  the card of tier 4 in QEMU's Raspberry Pi 3 and 4: their card reader, their USB, their device tree

Without --tier: 0 to 2. The others boot whole machines.`;

interface Tier {
  title: string;
  files: string[];
  /** Commands that are installed from Debian where they are missing, with their packages. */
  commands: Record<string, string>;
  /** Fetches and builds what the tests expect to find. */
  prepare(): Promise<void>;
}

/** All tiers but the first use them, and build them once. */
let packages: Promise<void> | undefined;
const testPackages = () => (packages ??= step('two packages for arm64', buildTestPackages));

/** What the tiers need that boot a machine: an image is made without mounting anything. */
const machine = {
  'qemu-system-aarch64': 'qemu-system-arm',
  mmdebstrap: 'mmdebstrap',
  'arch-test': 'arch-test',
  mcopy: 'mtools',
  'mkfs.vfat': 'dosfstools',
  mke2fs: 'e2fsprogs',
  sfdisk: 'fdisk',
  depmod: 'kmod',
  cpio: 'cpio',
  xz: 'xz-utils',
  mosquitto: 'mosquitto',
  openssl: 'openssl',
  socat: 'socat',
};

async function prepareMachine(): Promise<void> {
  await step('the emulator in the kernel', async () => forgotten.push(teachKernel(emulator().qemu)));
  await step('a card with Debian and cloud-init', async () => boardImage());
  await testPackages();
}

async function prepareFlashedCard(): Promise<void> {
  await prepareMachine();
  if (flashedCard() !== null) return;
  await step('a card with the package of this tree, by tier 4', async () => run(4));
  if (flashedCard() === null) throw new Missing('tier 4, which flashes the card, has failed');
}

const tiers: Tier[] = [
  {
    title: 'unit file, profiles, sandbox, package',
    files: ['device/unit-file', 'device/sandbox', 'unit/profile', 'unit/egress', 'unit/package'],
    commands: {
      'systemd-analyze': 'systemd',
      bwrap: 'bubblewrap',
      scmp_sys_resolver: 'seccomp',
      xz: 'xz-utils',
    },
    prepare: async () => undefined,
  },
  {
    title: 'programs of the package on emulated cores',
    files: ['ladder/emulated'],
    commands: { 'dpkg-deb': 'dpkg' },
    prepare: async () => {
      await step('the emulator and the libraries', async () => emulator());
      await testPackages();
      await step('packages for arm64 and amd64, each twice', buildTwice);
    },
  },
  {
    title: 'the package in an arm64 Debian',
    files: ['ladder/installed'],
    commands: {
      mmdebstrap: 'mmdebstrap',
      'arch-test': 'arch-test',
      mosquitto: 'mosquitto',
      strace: 'strace',
    },
    prepare: async () => {
      await step('the emulator in the kernel', async () => forgotten.push(teachKernel(emulator().qemu)));
      await step('a root file system', async () => rootFileSystem());
      await testPackages();
    },
  },
  {
    title: 'a flashed board of 512 MB, booted again',
    files: ['ladder/warm'],
    commands: machine,
    prepare: () => prepareFlashedCard(),
  },
  {
    title: 'a card, from slmd flash to the first answer',
    files: ['ladder/flashed'],
    commands: machine,
    prepare: () => prepareMachine(),
  },
  {
    title: 'the flashed card in a Raspberry Pi 3 and a 4',
    files: ['ladder/raspberry-pi'],
    commands: { ...machine, fdtput: 'device-tree-compiler' },
    prepare: async () => {
      await step('an emulator that has a Raspberry Pi 4', async () => machineEmulator());
      await prepareFlashedCard();
    },
  },
];

/** What hangs fails: several times what the longest tier takes on a machine that has other work. */
const tierMaxMs = 5_400_000;

/** In this order; the rest is asked for. */
const usual = [0, 1, 2];

/** What the kernel was taught for these tests. */
const forgotten: { forget(): void }[] = [];

async function main(args: string[]): Promise<number> {
  const options = {
    tier: { type: 'string', multiple: true },
    help: { type: 'boolean', short: 'h' },
  } as const;
  const { values } = parseArgs({ args, options });
  const wanted = values.tier?.map(Number) ?? usual;
  if (values.help === true || wanted.some((number) => tiers[number] === undefined)) {
    console.log(usage);
    return values.help === true ? 0 : 2;
  }
  await alone();
  const rows: string[] = [];
  try {
    for (const number of wanted) rows.push(await climb(number));
  } finally {
    for (const taught of forgotten) taught.forget();
  }
  console.log(
    ['', '| tier | what | preparing | tests | result |', '| - | - | - | - | - |', ...rows].join('\n'),
  );
  return rows.some((row) => row.includes('FAILED')) ? 1 : 0;
}

/** One tier, as a row of the table. */
async function climb(number: number): Promise<string> {
  const { title, commands, prepare } = tiers[number] as Tier;
  console.log(`\ntier ${number}: ${title}`);
  const row = (prepared: number, tested: number | null, result: string) =>
    `| ${number} | ${title} | ${seconds(prepared)} | ${tested === null ? '–' : seconds(tested)} | ${result} |`;
  const began = performance.now();
  try {
    const missing = installMissing(commands);
    if (missing.length > 0) throw new Missing(installHint(missing));
    await prepare();
  } catch (error) {
    if (!(error instanceof Missing)) throw error;
    console.log(`slmd: tier ${number} is skipped: ${error.message}`);
    return row(performance.now() - began, null, 'skipped');
  }
  const prepared = performance.now() - began;
  const passed = run(number);
  return row(prepared, performance.now() - began - prepared, passed ? 'passed' : 'FAILED');
}

/** Whether a tier's tests pass. */
function run(number: number): boolean {
  const paths = (tiers[number] as Tier).files.map((file) => `test/${file}.test.ts`);
  const env = { ...process.env, ORT_DISABLE_TELEMETRY: '1' };
  const limits = ['--test-concurrency=1', `--test-timeout=${tierMaxMs}`];
  const node = ['--test', '--test-reporter=spec', ...limits, ...paths];
  return spawnSync(process.execPath, node, { cwd: root, env, stdio: 'inherit' }).status === 0;
}

async function step<T>(what: string, work: () => Promise<T>): Promise<void> {
  console.log(`slmd: ${what} …`);
  await work();
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(0)} s`;
}

process.exitCode = await main(process.argv.slice(2));
