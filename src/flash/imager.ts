import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Flashed } from './flash.ts';

/**
 * A list of the images for Raspberry Pi Imager 2, which opens a file that ends with
 * `.rpi-imager-manifest`. The images have been customised, so Imager is told to leave them as they are.
 */
export function imagerManifest(flashed: readonly Flashed[], date: Date): string {
  const os_list = flashed.map(({ plan, target, bytes, sha256 }) => ({
    name: `slmd ${plan.device}`,
    description: `A board that answers prompts as ${plan.device} at ${plan.broker_url}`,
    icon: '',
    url: pathToFileURL(resolve(target.path)).href,
    release_date: date.toISOString().slice(0, 10),
    extract_size: bytes,
    extract_sha256: sha256,
    image_download_size: bytes,
    image_download_sha256: sha256,
    init_format: 'none',
    devices: ['pi3-64bit', 'pi4-64bit', 'pi5-64bit', 'pi02w-64bit'],
  }));
  return `${JSON.stringify({ os_list }, null, 2)}\n`;
}
