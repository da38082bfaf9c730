import { type Finding, note, ok, problem, warning } from './finding.ts';

/** What a board's sensors and its system say, as far as a diagnosis goes. */
export interface BoardReadings {
  soc_temp_c: number | null;
  /** What the firmware says now. */
  throttled: readonly string[];
  /** What it says has been since boot. */
  throttled_since_boot: readonly string[];
  /** Whether the kernel bounds memory by cgroup; null where it does not say. */
  memory_cgroup: boolean | null;
  /** Whether the clock follows a time source; null where nobody knows. */
  clock_synchronised: boolean | null;
  /** By the wall clock. */
  year: number;
}

/** Near where every Raspberry Pi begins to slow down. */
const hotC = 80;
/** No board that runs this has a right clock before. */
const yearMin = 2026;

const causes: Record<string, string> = {
  under_voltage: 'use the power supply that the board’s maker names, and a short thick cable',
  frequency_capped: 'use a stronger power supply, or cool the board',
  throttled: 'cool the board, and use a stronger power supply',
  soft_temperature_limit: 'cool the board: a heat sink or a fan',
};

export function boardFindings(readings: BoardReadings): Finding[] {
  return [...throttling(readings), ...temperature(readings), ...memoryCgroup(readings), clock(readings)];
}

function throttling({ throttled, throttled_since_boot }: BoardReadings): Finding[] {
  const now = throttled.map((name) =>
    warning('throttling', `${words(name)} now`, causes[name] ?? 'look at power and cooling'),
  );
  const before = throttled_since_boot
    .filter((name) => !throttled.includes(name))
    .map((name) => note('throttling', `${words(name)} since boot, not now`, causes[name] ?? null));
  return [...now, ...before];
}

function temperature({ soc_temp_c }: BoardReadings): Finding[] {
  if (soc_temp_c === null) return [];
  return soc_temp_c >= hotC
    ? [warning('temperature', `the processor has ${soc_temp_c} °C`, 'cool the board: a heat sink or a fan')]
    : [ok('temperature', `the processor has ${soc_temp_c} °C`)];
}

function memoryCgroup({ memory_cgroup }: BoardReadings): Finding[] {
  if (memory_cgroup === null) return [];
  return memory_cgroup
    ? [ok('memory_cgroup', 'the kernel can bound the service’s memory')]
    : [
        warning(
          'memory_cgroup',
          'the kernel does not bound memory, so the unit’s limits do nothing',
          'add cgroup_enable=memory to /boot/firmware/cmdline.txt and reboot',
        ),
      ];
}

function clock({ clock_synchronised, year }: BoardReadings): Finding {
  if (year < yearMin)
    return problem(
      'clock',
      `the clock says ${year}: every TLS certificate is then not valid yet`,
      'let the board reach a time server (timedatectl), or give it a clock with a battery',
    );
  if (clock_synchronised === false)
    return note('clock', 'the clock follows no time source', 'timedatectl set-ntp true');
  return ok('clock', clock_synchronised === null ? `the clock says ${year}` : 'the clock is synchronised');
}

function words(name: string): string {
  return name.replaceAll('_', ' ');
}
