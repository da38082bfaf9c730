import { spawnSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import * as z from 'zod';
import { messageOf } from '../lib/errors.ts';
import { FlashError } from './errors.ts';

/** A file or a card that an image is written to. */
export interface Target {
  path: string;
  kind: 'file' | 'card';
  /** For the question whether it may be erased: `/dev/sdb (SD Card Reader, 31.9 GB)`. */
  description: string;
}

const deviceSchema: z.ZodType<BlockDevice> = z.lazy(() =>
  z.object({
    path: z.string(),
    type: z.string(),
    size: z.number(),
    ro: z.boolean(),
    model: z.string().nullable(),
    mountpoints: z.array(z.string().nullable()),
    children: z.array(deviceSchema).optional(),
  }),
);

/** A device as `lsblk --json` tells of it, with what lies on it. */
export interface BlockDevice {
  path: string;
  type: string;
  size: number;
  ro: boolean;
  model: string | null;
  mountpoints: (string | null)[];
  children?: BlockDevice[] | undefined;
}

/** @throws FlashError `target_refused` for a file that is there, unless it may be replaced */
export function fileTarget(path: string, replace: boolean): Target {
  if (existsSync(path)) {
    if (statSync(path).isBlockDevice())
      throw new FlashError('target_refused', `${path} is a disk: name it with --card`);
    if (!replace) throw new FlashError('target_refused', `${path} is there already: --force replaces it`);
  }
  return { path, kind: 'file', description: path };
}

/** @throws FlashError `target_refused` for whatever is no card that may be erased */
export function cardTarget(path: string, imageBytes: number): Target {
  const device = lookUp(path);
  const refusal = cardRefusal(device, imageBytes);
  if (refusal !== null) throw new FlashError('target_refused', `${path} ${refusal}`);
  const gigabytes = (device.size / 1e9).toFixed(1);
  const model = device.model?.trim() ?? 'no name';
  return { path, kind: 'card', description: `${path} (${model}, ${gigabytes} GB)` };
}

/** Why a device must not be erased; null where it may be. */
export function cardRefusal(device: BlockDevice, imageBytes: number): string | null {
  const mounted = mountpointsOf(device);
  if (mounted.some((where) => where === '/' || where === '[SWAP]' || where.startsWith('/boot')))
    return 'holds the system of this computer';
  if (mounted.length > 0) return `is mounted at ${mounted.join(', ')}: unmount it first`;
  if (device.type !== 'disk') return `is a ${device.type}, not a whole card: name the disk it lies on`;
  if (device.ro) return 'is read-only: look at the switch on the card';
  if (device.size < imageBytes) return `has ${device.size} bytes and the image needs ${imageBytes}`;
  return null;
}

function mountpointsOf({ mountpoints, children = [] }: BlockDevice): string[] {
  return [...mountpoints.flatMap((where) => where ?? []), ...children.flatMap(mountpointsOf)];
}

function lookUp(path: string): BlockDevice {
  const columns = 'PATH,TYPE,SIZE,RO,MODEL,MOUNTPOINTS';
  const { error, status, stdout } = spawnSync('lsblk', ['--json', '--bytes', '--output', columns, path]);
  if (error !== undefined)
    throw new FlashError(
      'tool_missing',
      'cards are written on Linux only: write a file, and that to the card',
    );
  const listed = z
    .object({ blockdevices: z.array(deviceSchema).length(1) })
    .safeParse(status === 0 ? parsed(stdout.toString()) : null);
  if (!listed.success) throw new FlashError('target_refused', `${path} is no disk of this computer`);
  return listed.data.blockdevices[0]!;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new FlashError('target_refused', `lsblk says nothing of use: ${messageOf(error)}`);
  }
}
