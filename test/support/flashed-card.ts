import { join } from 'node:path';
import type { BoardImage } from '../../scripts/device/board-image.ts';
import type { FlashedCard } from '../../scripts/device/flashed-card.ts';
import { olderVersion, testPackage } from '../../scripts/device/packages.ts';
import { startCommand } from './command.ts';
import { makeCertificates } from './example-broker.ts';
import { guestBroker } from './guest.ts';

/** Flashes a card for a broker with certificates, as a person would. @returns what the command said, too */
export async function flashCard(dir: string, image: BoardImage): Promise<FlashedCard & { said: string }> {
  const at = (name: string) => join(dir, name);
  const certificates = at('certificates');
  makeCertificates(certificates, guestBroker.address, ['home', 'kitchen']);
  const files = { ca: 'ca.pem', cert: 'kitchen.pem', key: 'kitchen.key' };
  const { code, stdout, stderr } = await startCommand([
    ...['flash', image.card, '--out', at('card.img'), '--device', 'kitchen'],
    ...['--broker', `mqtts://${guestBroker.address}:${guestBroker.port}`],
    ...Object.entries(files).flatMap(([name, file]) => [`--${name}-file`, join(certificates, file)]),
    ...['--package', testPackage(olderVersion)],
  ]).ran;
  if (code !== 0) throw new Error(stderr);
  return { card: at('card.img'), certificates, said: stdout + stderr };
}
