import { globSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, parse, resolve } from 'node:path';
import { createInterface } from 'node:readline/promises';
import { parseArgs } from 'node:util';
import { type BoardFields, type BoardPlan, countBoards, planBoards, readBoards } from '../flash/boards.ts';
import { FlashError } from '../flash/errors.ts';
import { type FlashEvents, type Flashed, flash as flashBoards } from '../flash/flash.ts';
import { imagerManifest } from '../flash/imager.ts';
import { cardTarget, fileTarget, type Target } from '../flash/target.ts';
import { packageRoot } from '../lib/package-root.ts';
import { CommandError, exitCodes } from './exit-codes.ts';
import { Steps } from './progress.ts';

export const usage = `slmd flash <image> (--out <file> | --card <disk>) --device <name> --broker <url> [options]

Takes an image with cloud-init (Raspberry Pi OS from trixie on, Ubuntu for the Raspberry Pi; .img or
.img.xz) and writes one whose board comes up as an slmd device, with nobody logging in. Everything that
is written is read back.

  --out <file>               an image file; of several boards each gets its name: card.img, card-<device>.img
  --card <disk>              a card, as /dev/sdb; it is erased, after a question (Linux)
  --device <name>            the device's name, and the board's host name
  --count <n>                that many boards, <name>-1 to <name>-n
  --boards <file.csv>        boards from a file; its first line names the fields: device, broker_url,
                             broker_username, broker_password, ca_file, cert_file, key_file, wifi_ssid,
                             wifi_password, wifi_country, ssh_key, user. A field wins over an option
  --broker <url>             mqtt://… or mqtts://…
  --username <name>          default: the device's name, where there is a password
  --password-file <file>     the broker password, one line
  --ca-file <file>           --cert-file <file>  --key-file <file>
  --wifi-ssid <name>         --wifi-password-file <file>  --wifi-country <DE>
  --ssh-key <file>           a public key; without one nobody can log in
  --user <name>              who logs in with it (default: slmd-admin)
  --package <file.deb>       slmd for arm64 (default: the newest in dist/)
  --model <dir>              a model directory in place of the model that ships
  --manifest <file>          also writes a list for Raspberry Pi Imager 2 (….rpi-imager-manifest)
  --force                    replaces image files that are there
  --yes                      erases a card without asking

Exit code: 0 written and read back, 1 not; what is wrong is found before anything is written.`;

const options = {
  out: { type: 'string' },
  card: { type: 'string' },
  device: { type: 'string' },
  count: { type: 'string' },
  boards: { type: 'string' },
  broker: { type: 'string' },
  username: { type: 'string' },
  'password-file': { type: 'string' },
  'ca-file': { type: 'string' },
  'cert-file': { type: 'string' },
  'key-file': { type: 'string' },
  'wifi-ssid': { type: 'string' },
  'wifi-password-file': { type: 'string' },
  'wifi-country': { type: 'string' },
  'ssh-key': { type: 'string' },
  user: { type: 'string' },
  package: { type: 'string' },
  model: { type: 'string' },
  manifest: { type: 'string' },
  force: { type: 'boolean', default: false },
  yes: { type: 'boolean', default: false },
} as const;

type Values = ReturnType<typeof parseArgs<{ options: typeof options }>>['values'];

export async function flash(args: string[]): Promise<void> {
  const { values, positionals } = parseArgs({ args, allowPositionals: true, options });
  const [image] = positionals;
  if (
    image === undefined ||
    positionals.length > 1 ||
    (values.out === undefined) === (values.card === undefined)
  )
    throw new CommandError(exitCodes.usage, `one image and one of --out and --card are needed\n\n${usage}`);
  try {
    const plans = plansOf(values);
    if (values.card !== undefined && plans.length > 1)
      throw new CommandError(exitCodes.usage, 'a card is one board: use --out for several');
    const load = {
      package_file: packageOf(values),
      model_dir: values.model === undefined ? null : resolve(values.model),
    };
    const flashed = await flashBoards(image, plans, load, targetsOf(values, plans.length), eventsOf(values));
    report(flashed, values);
  } catch (error) {
    if (error instanceof FlashError)
      throw new CommandError(exitCodes.failed, `${error.code}: ${error.message}`);
    throw error;
  }
}

function plansOf(values: Values): BoardPlan[] {
  const shared = Object.fromEntries(
    Object.entries({
      broker_url: values.broker,
      broker_username: values.username,
      broker_password: firstLine(values['password-file']),
      ca_file: values['ca-file'],
      cert_file: values['cert-file'],
      key_file: values['key-file'],
      wifi_ssid: values['wifi-ssid'],
      wifi_password: firstLine(values['wifi-password-file']),
      wifi_country: values['wifi-country'],
      ssh_key: firstLine(values['ssh-key']),
      user: values.user,
    }).filter(([, value]) => value !== undefined),
  ) as BoardFields;
  return planBoards(shared, boardsOf(values));
}

function boardsOf({ boards, device, count }: Values): BoardFields[] {
  if (boards !== undefined) {
    if (device !== undefined || count !== undefined)
      throw new CommandError(exitCodes.usage, '--boards names the devices: leave --device and --count out');
    return readBoards(boards);
  }
  if (device === undefined) throw new CommandError(exitCodes.usage, '--device or --boards is needed');
  if (
    count !== undefined &&
    !(Number.isInteger(Number(count)) && Number(count) >= 1 && Number(count) <= boardsMax)
  )
    throw new CommandError(exitCodes.usage, `--count must be 1 to ${boardsMax}`);
  return countBoards(device, count === undefined ? null : Number(count));
}

/** More in one go is a slip of the finger: each is a whole image. */
const boardsMax = 1000;

function packageOf(values: Values): string {
  if (values.package !== undefined) return resolve(values.package);
  const built = globSync('dist/**/slmd_*_arm64.deb', { cwd: packageRoot() }).sort();
  const newest = built.at(-1);
  if (newest !== undefined) return join(packageRoot(), newest);
  throw new CommandError(
    exitCodes.usage,
    'there is no package yet: npm run package, or name one with --package',
  );
}

function targetsOf(
  { out, card, force }: Values,
  boards: number,
): (plan: BoardPlan, image: { bytes: number }) => Target {
  if (card !== undefined) return (_, { bytes }) => cardTarget(card, bytes);
  const { name, ext } = parse(out!);
  return ({ device }) =>
    fileTarget(boards === 1 ? out! : join(dirname(out!), `${name}-${device}${ext}`), force);
}

function eventsOf({ yes }: Values): FlashEvents {
  const steps = new Steps();
  const show = (label: string, done: number, total: number) => {
    steps.report(label, done, total);
    if (done >= total) steps.end();
  };
  return {
    unpacking: (done, total) => show('unpacking', done, total),
    writing: (step, done, total) => show(step, done, total),
    confirm: async ({ kind, path, description }) => {
      if (kind === 'card' && !yes) await ask(path, description);
    },
  };
}

async function ask(path: string, description: string): Promise<void> {
  if (!process.stdin.isTTY)
    throw new CommandError(
      exitCodes.failed,
      `${description} would be erased: say --yes, or run this at a terminal`,
    );
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  const answer = await lines.question(`Everything on ${description} will be erased. Type ${path} to go on: `);
  lines.close();
  if (answer.trim() !== path) throw new CommandError(exitCodes.interrupted, 'nothing was written');
}

function report(flashed: readonly Flashed[], { manifest }: Values): void {
  for (const { plan, target, sha256 } of flashed)
    console.log(`${plan.device}: ${target.path}, read back and right (sha256 ${sha256.slice(0, 16)}…)`);
  if (manifest === undefined) return;
  writeFileSync(manifest, imagerManifest(flashed, new Date()));
  console.log(`Raspberry Pi Imager 2: ${manifest}`);
}

function firstLine(file: string | undefined): string | undefined {
  if (file === undefined) return undefined;
  try {
    return readFileSync(file, 'utf8').split(/\r?\n/)[0];
  } catch {
    throw new CommandError(exitCodes.failed, `${file} cannot be read`);
  }
}
