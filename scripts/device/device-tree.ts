import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './fetch.ts';
import type { Kernel } from './kernel.ts';

/** Boards that QEMU has, by its name of them. */
export type BoardMachine = 'raspi3b' | 'raspi4b';

const files: Record<BoardMachine, string> = {
  raspi3b: 'bcm2837-rpi-3-b.dtb',
  raspi4b: 'bcm2711-rpi-4-b.dtb',
};

/** The device tree of a board, as its kernel may believe it. @param dir where a changed one is written */
export function deviceTree(machine: BoardMachine, { deviceTrees }: Kernel, dir: string): string {
  const original = join(deviceTrees, files[machine]);
  if (machine === 'raspi3b') return original;
  const changed = join(dir, files[machine]);
  copyFileSync(original, changed);
  for (const name of run('fdtget', ['-l', changed, '/soc']).split('\n'))
    if (absentFromPi4.test(name)) set(changed, `/soc/${name}`, 'status', 'disabled');
  set(changed, '/gpu', 'status', 'disabled');
  // Its USB has one port here, which only a host can use.
  set(changed, '/soc/usb@7e980000', 'dr_mode', 'host');
  withoutSupplies(changed, '/emmc2bus/mmc@7e340000');
  cardInPlaceOfWiFi(changed, '/soc/mmc@7e300000');
  return changed;
}

/**
 * What a Raspberry Pi 4 has and QEMU's has not: at this interrupt controller and this I²C Debian's kernel panics, and
 * what belongs to a display is of no use here.
 */
const absentFromPi4 =
  /^(interrupt-controller@7ef00100|i2c@7ef0[49]500|clock@7ef00000|(hdmi|avs-monitor|vec|hvs|txp|pixelvalve)@.*)$/;

function withoutSupplies(tree: string, node: string): void {
  for (const supply of ['vmmc-supply', 'vqmmc-supply']) run('fdtput', ['-d', tree, node, supply]);
}

/** QEMU puts the card where a board has its Wi-Fi. */
function cardInPlaceOfWiFi(tree: string, node: string): void {
  for (const property of ['mmc-pwrseq', 'non-removable']) run('fdtput', ['-d', tree, node, property]);
  run('fdtput', ['-r', tree, `${node}/wifi@1`]);
  run('fdtput', [tree, node, 'broken-cd']);
}

function set(tree: string, node: string, property: string, value: string): void {
  run('fdtput', ['-t', 's', tree, node, property, value]);
}
