import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import type { BoardPlan } from './boards.ts';
import { customise, type Load } from './card.ts';
import { FlashError } from './errors.ts';
import { copyBoot, type Image, openImage } from './image.ts';
import type { Target } from './target.ts';
import { type OnProgress, writeImage } from './write.ts';

/** A board whose image has been written and read back. */
export interface Flashed {
  plan: BoardPlan;
  target: Target;
  bytes: number;
  sha256: string;
}

export interface FlashEvents {
  /** An .xz is unpacked first. */
  unpacking(done: number, total: number): void;
  /** Asked before the first byte goes to a target; anything thrown ends the flashing there. */
  confirm(target: Target): Promise<void>;
  writing: OnProgress;
}

/**
 * The story of a flashing: look at the image, make a boot partition for each board, and only when all
 * of them are right write the first one, read it back, and go on with the next.
 *
 * @param targetOf where each board's image goes; it may refuse
 * @throws FlashError; up to the first write no target has been touched
 */
export async function flash(
  imagePath: string,
  plans: readonly BoardPlan[],
  load: Load,
  targetOf: (plan: BoardPlan, image: Image) => Target,
  events: FlashEvents,
): Promise<Flashed[]> {
  requirePackage(load.package_file);
  const work = mkdtempSync(join(tmpdir(), 'slmd-flash-'));
  try {
    const image = await openImage(imagePath, work, events.unpacking);
    const boards = [];
    for (const plan of plans) {
      const boot = join(work, `${plan.device}.fat`);
      customise(await copyBoot(image, boot), plan, load, join(work, plan.device));
      boards.push({ plan, boot, target: targetOf(plan, image) });
    }
    const flashed: Flashed[] = [];
    for (const { plan, boot, target } of boards) {
      await events.confirm(target);
      const sha256 = await writeImage(image, boot, target, events.writing);
      flashed.push({ plan, target, bytes: image.bytes, sha256 });
    }
    return flashed;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function requirePackage(path: string): void {
  if (!/_(arm64|all)\.deb$/.test(basename(path)) || !statSync(path, { throwIfNoEntry: false })?.isFile())
    throw new FlashError(
      'package_unreadable',
      `${path} is no package for arm64: make one with npm run package, or name it with --package`,
    );
}
