import { readdirSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';

/** Small models gain nothing from more: a token's work is too short to share. */
const threadsMax = 4;

const cpuDirectory = '/sys/devices/system/cpu';

/** Threads to compute with when nobody said: one for each physical core that the process may use. */
export function chooseThreads(): number {
  return Math.max(1, Math.min(physicalCores(), availableParallelism(), threadsMax));
}

/** Two hardware threads of one core share its arithmetic; they count once. */
function physicalCores(): number {
  try {
    const cores = new Set<string>();
    for (const name of readdirSync(cpuDirectory)) {
      if (!/^cpu\d+$/.test(name)) continue;
      cores.add(readFileSync(`${cpuDirectory}/${name}/topology/thread_siblings_list`, 'utf8').trim());
    }
    return cores.size > 0 ? cores.size : availableParallelism();
  } catch {
    // No sysfs, or a core that is switched off and has no topology.
    return availableParallelism();
  }
}
