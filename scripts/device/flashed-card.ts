import { cpSync, existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { cacheDirectory } from '../package/runtime-tree.ts';

/** A card for one board, and the certificates that its broker and who asks it have. */
export interface FlashedCard {
  card: string;
  certificates: string;
}

const kept = join(cacheDirectory(), 'device', 'flashed');

/** Keeps a card whose board has been up for the boots to come. */
export function keepFlashed({ card, certificates }: FlashedCard): void {
  rmSync(kept, { recursive: true, force: true });
  const making = `${kept}.${process.pid}`;
  mkdirSync(making, { recursive: true });
  cpSync(certificates, join(making, 'certificates'), { recursive: true });
  renameSync(card, join(making, 'card.img'));
  renameSync(making, kept);
}

/** The card that was kept, or null. */
export function flashedCard(): FlashedCard | null {
  const flashed = { card: join(kept, 'card.img'), certificates: join(kept, 'certificates') };
  return existsSync(flashed.card) ? flashed : null;
}
