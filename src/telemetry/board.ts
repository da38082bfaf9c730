import { readdirSync, readFileSync } from 'node:fs';
import { arch, cpus, loadavg, totalmem } from 'node:os';
import { join } from 'node:path';
import type { BoardSnapshot } from '../contract/result.ts';
import type { Info } from '../contract/status.ts';
import type { BoardHealth } from '../contract/telemetry.ts';
import { procBytes } from '../lib/proc-bytes.ts';

/** What never changes while the board is up. */
export type BoardIdentity = Omit<Info['board'], 'profile' | 'profile_chosen_by' | 'profile_settings'>;

/** Instruction sets that decide how fast ONNX Runtime is: arm64's and x64's names in /proc/cpuinfo. */
const telling = [
  'asimd',
  'asimddp',
  'i8mm',
  'sve',
  'bf16',
  'avx2',
  'avx512f',
  'avx512_vnni',
  'avx_vnni',
  'amx_int8',
];

/** Bits of the firmware's get_throttled word. Source: Raspberry Pi documentation, vcgencmd. */
const throttledBits = {
  0: 'under_voltage',
  1: 'frequency_capped',
  2: 'throttled',
  3: 'soft_temperature_limit',
};

/** The same bits, this much higher, say what has been since boot. */
const sinceBootShift = 16;

/**
 * Reads a board's sensors from its /proc and /sys, and says null for what a board does not have.
 *
 * `root` stands before every path, so that tests can show it any board.
 */
export class Board {
  readonly #root: string;

  constructor(root = '/') {
    this.#root = root;
  }

  identity(): BoardIdentity {
    const info = this.#read('proc/cpuinfo') ?? '';
    const flags = new Set(/^(?:flags|Features)\s*:\s*(.*)$/m.exec(info)?.[1]?.split(' '));
    return {
      model: this.#read('proc/device-tree/model')?.replaceAll('\0', '').trim() || null,
      arch: arch(),
      cpu: /^model name\s*:\s*(.*)$/m.exec(info)?.[1] ?? null,
      cpu_features: telling.filter((name) => flags.has(name)),
      cores: (info.match(/^processor\s*:/gm) ?? cpus()).length,
      memory_bytes: this.#meminfo('MemTotal') ?? totalmem(),
    };
  }

  health(): BoardHealth {
    return {
      soc_temp_c: this.#temperature(),
      throttled: this.#throttled(),
      load_1m: numberOf(this.#read('proc/loadavg')?.split(' ')[0]) ?? loadavg()[0] ?? 0,
      memory_total_bytes: this.#meminfo('MemTotal') ?? totalmem(),
      memory_available_bytes: this.#meminfo('MemAvailable'),
    };
  }

  snapshot(): BoardSnapshot {
    return {
      soc_temp_c: this.#temperature(),
      throttled: this.#throttled(),
      energy_j: null,
      energy_source: 'none',
    };
  }

  /** Resident memory of a process in bytes, null where it is gone. */
  residentBytes(pid: number): number | null {
    return procBytes(this.#read(`proc/${pid}/status`) ?? '', 'VmRSS');
  }

  /** What the firmware says has held the board back at any time since it was switched on. */
  throttledSinceBoot(): string[] {
    return this.#throttled(sinceBootShift);
  }

  #meminfo(name: string): number | null {
    return procBytes(this.#read('proc/meminfo') ?? '', name);
  }

  #temperature(): number | null {
    const millidegrees = numberOf(this.#read('sys/class/thermal/thermal_zone0/temp'));
    return millidegrees === null ? null : Math.round(millidegrees / 100) / 10;
  }

  /** The firmware's node has another place on each generation of boards, so it is looked for. */
  #throttled(shift = 0): string[] {
    const platform = 'sys/devices/platform';
    const candidates = [
      `${platform}/soc/soc:firmware/get_throttled`,
      ...this.#list(platform)
        .filter((name) => name.startsWith('soc@'))
        .map((name) => `${platform}/${name}/${name}:firmware/get_throttled`),
    ];
    for (const path of candidates) {
      const text = this.#read(path);
      if (text === null) continue;
      const word = Number.parseInt(text, 16);
      return Object.entries(throttledBits).flatMap(([bit, name]) =>
        (word >> (Number(bit) + shift)) & 1 ? [name] : [],
      );
    }
    return [];
  }

  #read(path: string): string | null {
    try {
      return readFileSync(join(this.#root, path), 'utf8');
    } catch {
      return null;
    }
  }

  #list(path: string): string[] {
    try {
      return readdirSync(join(this.#root, path));
    } catch {
      return [];
    }
  }
}

/** A sensor that is there may still have nothing to say, or nonsense. */
function numberOf(text: string | null | undefined): number | null {
  const number = Number(text?.trim() || Number.NaN);
  return Number.isFinite(number) ? number : null;
}
