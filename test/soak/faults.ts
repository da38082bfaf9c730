import { setTimeout as lasts } from 'node:timers/promises';
import type { FaultProxy } from '../support/proxy.ts';
import { alive } from '../support/supervised.ts';
import type { Asker } from './asker.ts';
import type { Device } from './device.ts';
import type { SmallDisk } from './small-disk.ts';

/** A broker that can be ended and started again. */
export interface Mortal {
  port: number;
  url: string;
  kill(signal: NodeJS.Signals): Promise<void>;
  start(): Promise<void>;
  stop(): Promise<void>;
}

/** Everything that a fault can strike. */
export interface Struck {
  device: Device;
  broker: Mortal;
  proxy: FaultProxy;
  /** Null where none could be mounted. */
  disk: SmallDisk | null;
  asker: Asker;
  /** Starts the daemon's process again, after the journal of the one before was read. */
  restart(): void;
}

export interface Fault {
  name: string;
  /** Whether the daemon's process lives on: only such a process shows what grows in it. */
  spares_daemon: boolean;
  /** Resolves when the fault is over; what it did may not be. */
  strike(struck: Struck, random: () => number): Promise<void>;
}

/** Up to so many milliseconds, most often few: the interesting moments are close to the fault. */
const moment = (random: () => number, ms: number) => lasts(ms * random() ** 2);

export const faults: readonly Fault[] = [
  { name: 'daemon SIGKILL', spares_daemon: false, strike: killDaemon },
  { name: 'daemon SIGTERM', spares_daemon: false, strike: stopDaemon },
  { name: 'daemon SIGSTOP', spares_daemon: true, strike: freezeDaemon },
  { name: 'engine SIGKILL', spares_daemon: true, strike: killEngine },
  { name: 'engine SIGSTOP', spares_daemon: true, strike: freezeEngine },
  {
    name: 'broker SIGKILL',
    spares_daemon: true,
    strike: (struck, random) => endBroker(struck, random, 'SIGKILL'),
  },
  {
    name: 'broker SIGTERM',
    spares_daemon: true,
    strike: (struck, random) => endBroker(struck, random, 'SIGTERM'),
  },
  { name: 'cut', spares_daemon: true, strike: cut },
  { name: 'black hole', spares_daemon: true, strike: blackHole },
  { name: 'disk full', spares_daemon: true, strike: fillDisk },
];

async function killDaemon({ device, restart }: Struck, random: () => number): Promise<void> {
  await device.kill('SIGKILL');
  await moment(random, 1000);
  restart();
}

async function stopDaemon({ device, restart }: Struck): Promise<void> {
  const code = await device.kill('SIGTERM');
  if (code !== 0) throw new Error(`a daemon that was asked to stop ended with ${code}:\n${device.tail}`);
  restart();
}

/** Long enough, now and then, that the broker gives it up. */
async function freezeDaemon({ device }: Struck, random: () => number): Promise<void> {
  process.kill(device.pid, 'SIGSTOP');
  await moment(random, 3000);
  process.kill(device.pid, 'SIGCONT');
}

async function killEngine({ device }: Struck): Promise<void> {
  process.kill(await device.enginePid(), 'SIGKILL');
}

/** Half of them wake up soon; the others are for the supervisor to find. */
async function freezeEngine({ device }: Struck, random: () => number): Promise<void> {
  const pid = await device.enginePid();
  process.kill(pid, 'SIGSTOP');
  if (random() < 0.5) return;
  await moment(random, 500);
  // Not there any more where its supervisor was quicker.
  if (alive(pid)) process.kill(pid, 'SIGCONT');
}

async function endBroker(
  { broker, asker }: Struck,
  random: () => number,
  signal: NodeJS.Signals,
): Promise<void> {
  if (signal === 'SIGKILL') asker.brokerKilled();
  await broker.kill(signal);
  await moment(random, 1000);
  await broker.start();
}

async function cut({ proxy }: Struck, random: () => number): Promise<void> {
  proxy.refuse(random() < 0.5);
  proxy.cut();
  await moment(random, 500);
  proxy.refuse(false);
}

/** What was swallowed does not come back, so the connection ends with it. */
async function blackHole({ proxy }: Struck, random: () => number): Promise<void> {
  proxy.blackhole(true);
  await moment(random, 4000);
  proxy.blackhole(false);
  proxy.cut();
}

/** Until somebody was told, or nobody asked. */
async function fillDisk({ disk, asker }: Struck, random: () => number): Promise<void> {
  disk?.fill();
  await Promise.race([asker.refusal('storage_full'), lasts(2000)]);
  await moment(random, 1000);
  disk?.free();
}
