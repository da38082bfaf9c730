/**
 * `npm run package -- --arch arm64|amd64`: slmd as a Debian package, with Node and the model that ships.
 *
 * The same commit gives the same bytes: every file is of the time of the commit, or of SOURCE_DATE_EPOCH.
 */

import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { contentsOf, maintainerScripts } from './contents.ts';
import { type Architecture, type Compression, debOf } from './deb.ts';
import { maintainer } from './documents.ts';

const root = join(import.meta.dirname, '..', '..');

const usage = `npm run package -- --arch arm64|amd64 [--out <dir>] [--compression xz|zstd] [--version <v>]

Writes slmd_<version>_<arch>.deb. Nothing is needed but npm and, for xz, the program of that name.

  --arch         the boards' architecture: a Raspberry Pi is arm64
  --out          where to (default: dist)
  --compression  xz is for releases and takes minutes, zstd is for tests (default: xz)
  --version      another version than package.json's`;

export interface PackageOptions {
  arch: Architecture;
  out: string;
  compression: Compression;
  version: string;
  /** Of all its files, in seconds since 1970; that of the release unless told otherwise. */
  modified_s?: number;
}

/** It goes onto the boot partition of a card, beside a kernel, and over slow links. */
const packageBytesMax = 45_000_000;

/** Builds a package and returns its path. */
export async function makePackage({
  arch,
  out,
  compression,
  version,
  modified_s = releaseTime(),
}: PackageOptions): Promise<string> {
  const deb = await debOf(
    {
      architecture: arch,
      control: {
        Package: 'slmd',
        Version: version,
        Maintainer: maintainer,
        Section: 'net',
        Priority: 'optional',
        // What Node and ONNX Runtime are linked with; any Debian, Ubuntu or Raspberry Pi OS since 2020 has it.
        Depends: 'libc6 (>= 2.28), libgcc-s1, libstdc++6 (>= 9)',
        Recommends: 'systemd (>= 252)',
        Suggests: 'mosquitto',
        Description: `small language model on this board, spoken to over MQTT
 A light daemon that answers prompts from MQTT topics with a quantized small
 language model on the board's own CPU, and publishes answers and latency
 telemetry. It talks to its broker and to nobody else, and brings its own
 Node and a model for a home.`,
      },
      scripts: maintainerScripts(),
      conffiles: ['/etc/slmd/slmd.yaml'],
      entries: await contentsOf(arch, { version, modified_s }),
      modified_s,
    },
    compression,
  );
  mkdirSync(out, { recursive: true });
  const path = join(out, `slmd_${version}_${arch}.deb`);
  writeFileSync(path, deb);
  return path;
}

function packageVersion(): string {
  return (JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }).version;
}

function releaseTime(): number {
  if (process.env.SOURCE_DATE_EPOCH !== undefined) return Number(process.env.SOURCE_DATE_EPOCH);
  const { stdout } = spawnSync('git', ['log', '-1', '--format=%ct'], { cwd: root, encoding: 'utf8' });
  const seconds = Number.parseInt(stdout, 10);
  if (Number.isNaN(seconds))
    throw new Error('without a git history, SOURCE_DATE_EPOCH says the time of the files');
  return seconds;
}

async function main(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      arch: { type: 'string' },
      out: { type: 'string', default: join(root, 'dist') },
      compression: { type: 'string', default: 'xz' },
      version: { type: 'string', default: packageVersion() },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  const { arch, compression, out, version } = values;
  if (values.help) console.log(usage);
  else if ((arch !== 'arm64' && arch !== 'amd64') || (compression !== 'xz' && compression !== 'zstd')) {
    console.error(usage);
    return 2;
  } else {
    console.log(`slmd: packing ${version} for ${arch} with ${compression} …`);
    const path = await makePackage({ arch, out, compression, version });
    const bytes = statSync(path).size;
    console.log(`${path}  ${(bytes / 1e6).toFixed(1)} MB`);
    if (compression === 'xz' && bytes > packageBytesMax) {
      console.error(`slmd: a package has at most ${packageBytesMax / 1e6} MB; look for what has been added`);
      return 1;
    }
  }
  return 0;
}

if (import.meta.main) process.exitCode = await main(process.argv.slice(2));
