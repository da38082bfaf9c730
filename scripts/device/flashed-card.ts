import { cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cacheDirectory } from '../package/runtime-tree.ts';
import { olderVersion, sha256Of, testPackage } from './packages.ts';

/** A card for one board, and the certificates that its broker and who asks it have. */
export interface FlashedCard {
  card: string;
  certificates: string;
}

const kept = join(cacheDirectory(), 'device', 'flashed');
/** Has the hash of the package that the card was flashed with: its program, and the program that flashed it. */
const tag = 'package.sha256';

/** Keeps a card whose board has been up for the boots to come. */
export function keepFlashed({ card, certificates }: FlashedCard): void {
  rmSync(kept, { recursive: true, force: true });
  const making = `${kept}.${process.pid}`;
  mkdirSync(making, { recursive: true });
  cpSync(certificates, join(making, 'certificates'), { recursive: true });
  renameSync(card, join(making, 'card.img'));
  writeFileSync(join(making, tag), sha256Of(testPackage(olderVersion)));
  renameSync(making, kept);
}

/** The card that was kept; null where there is none, or it was flashed with a package that the tree does not make any more. */
export function flashedCard(): FlashedCard | null {
  const flashed = { card: join(kept, 'card.img'), certificates: join(kept, 'certificates') };
  if (!existsSync(join(kept, tag))) return null;
  return readFileSync(join(kept, tag), 'utf8') === sha256Of(testPackage(olderVersion)) ? flashed : null;
}
