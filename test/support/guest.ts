import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { type BoardMachine, deviceTree } from '../../scripts/device/device-tree.ts';
import type { Kernel } from '../../scripts/device/kernel.ts';
import { machineEmulator } from '../../scripts/device/machine-emulator.ts';
import { GuestAgent, type Outcome } from './guest-agent.ts';
import { spokenTo } from './packets.ts';
import { inTime } from './wait.ts';

/** A whole machine under emulation, beside other work: what takes a second on a board takes a minute, or two. */
export const guestPatience = { ms: 2_400_000 };

/** Where the guest finds its broker; nothing else of the network is there. */
export const guestBroker = { address: '10.0.2.100', port: 8883 };

/** What systemd gives up after a minute and a half on a board may take longer under emulation. */
const unhurried = 'systemd.default_device_timeout_sec=900 systemd.default_timeout_start_sec=900';

/** What waits for a core that this machine does not have comes too late for the deadlines of USB. */
const coresMax = `maxcpus=${availableParallelism()}`;

const mac = '52:54:00:12:34:56';

export interface GuestOptions {
  card: string;
  kernel: Kernel;
  /** The kernel's command line, as the boot partition has it. */
  commandLine: string;
  /** A board of which there is one, with the memory that is soldered to it; default: QEMU's `virt`. */
  machine?: 'virt' | BoardMachine;
  /** Of `virt`. */
  memory_mib?: number;
  /** Where the broker listens on loopback. */
  broker_port: number;
  /** For what it leaves: console, packets, the agent's line. */
  dir: string;
  /** Whether what it writes to its card is forgotten. */
  forgets?: boolean;
  /** A file that the guest has as a disk, `/dev/vdb`. */
  second_disk?: string;
}

/**
 * An arm64 machine with a card. Its network has one address, which leads to the broker on this machine's
 * loopback: no host, no gateway, no resolver. Its clock starts in 2020, as that of a board that has none.
 */
export class Guest {
  readonly #options: GuestOptions;
  readonly #qemu: ChildProcess;
  readonly #exited: Promise<unknown>;
  #agent: GuestAgent | null = null;

  constructor(options: GuestOptions) {
    this.#options = options;
    const said = openSync(this.#at('qemu.log'), 'w');
    const [command = '', ...args] = [
      'setpriv',
      '--pdeathsig',
      'KILL',
      // This machine's may be too old to have it.
      ...(options.machine === 'raspi4b' ? machineEmulator() : ['qemu-system-aarch64']),
      ...this.#arguments(),
    ];
    this.#qemu = spawn(command, args, { stdio: ['ignore', said, said] });
    closeSync(said);
    this.#exited = once(this.#qemu, 'exit');
  }

  /** The same, but for a guest that ends meanwhile: then with what it said. */
  async whileUp<T>(work: Promise<T>): Promise<T> {
    const ended = this.#exited.then(() => {
      const said = `${readFileSync(this.#at('qemu.log'), 'utf8')}\n${this.console.slice(-2000)}`;
      throw new Error(`the guest has ended: ${said}`);
    });
    return Promise.race([work, ended]);
  }

  /** Runs a program in the guest as root, once its agent is up. */
  async run(...command: string[]): Promise<Outcome> {
    this.#agent ??= await this.whileUp(GuestAgent.reach(this.#at('agent'), guestPatience.ms));
    return this.whileUp(this.#agent.run(command, guestPatience.ms));
  }

  /** What a shell line prints. @throws where it fails */
  async sh(line: string): Promise<string> {
    const { status, output } = await this.run('/bin/sh', '-c', line);
    if (status !== 0) throw new Error(`${line}: ${status}: ${output}`);
    return output.trim();
  }

  /** What `systemctl show` says of a unit. */
  async shown(unit: string, ...properties: string[]): Promise<Record<string, string>> {
    const lines = await this.sh(`systemctl show ${unit} -p ${properties.join(',')}`);
    return Object.fromEntries(lines.split('\n').map((line) => line.split(/=(.*)/s).slice(0, 2)));
  }

  /** Ends in good order. */
  async powerOff(): Promise<void> {
    await this.run('/bin/sync');
    this.#agent?.powerOff();
    await inTime(this.#exited, 'the guest powers off', guestPatience.ms);
    this.#agent?.close();
  }

  kill(): void {
    this.#agent?.close();
    this.#qemu.kill('SIGKILL');
  }

  /** Whom it has spoken to so far, of all it sent; see `spokenTo`. */
  get spokenTo(): Set<string> {
    return spokenTo(readFileSync(this.#at('packets')), mac);
  }

  get console(): string {
    return readFileSync(this.#at('console'), 'utf8');
  }

  #at(name: string): string {
    return join(this.#options.dir, name);
  }

  #arguments(): string[] {
    const { kernel, commandLine, broker_port, machine = 'virt' } = this.#options;
    const { address, port } = guestBroker;
    const broker = `guestfwd=tcp:${address}:${port}-cmd:socat - TCP4:127.0.0.1:${broker_port}`;
    return [
      ...['-display', 'none', '-monitor', 'none', '-no-reboot', '-serial', `file:${this.#at('console')}`],
      ...['-kernel', kernel.image, '-initrd', kernel.initrd],
      ...['-append', `${commandLine.trim()} console=ttyAMA0 net.ifnames=0 ${unhurried} ${coresMax}`],
      ...['-netdev', `user,id=net,restrict=on,${broker}`],
      ...['-object', `filter-dump,id=packets,netdev=net,file=${this.#at('packets')}`],
      ...(machine === 'virt' ? this.#virt() : this.#raspberryPi(machine)),
    ];
  }

  #virt(): string[] {
    const { card, memory_mib = 1024, forgets = false, second_disk } = this.#options;
    const disk = (id: string, file: string, more: string) => [
      ...['-drive', `id=${id},file=${file},format=raw,if=none,${more}`],
      ...['-device', `virtio-blk-pci,drive=${id}`],
    ];
    return [
      ...['-M', 'virt', '-cpu', 'cortex-a72', '-smp', '2', '-m', `${memory_mib}`],
      ...disk('card', card, `cache=unsafe,snapshot=${forgets ? 'on' : 'off'}`),
      ...(second_disk === undefined ? [] : disk('second', second_disk, 'readonly=on')),
      ...['-device', `virtio-net-pci,netdev=net,mac=${mac},romfile=`],
      ...['-device', 'virtio-rng-pci', '-device', 'virtio-serial-pci'],
      ...['-chardev', `socket,id=agent,path=${this.#at('agent')},server=on,wait=off`],
      ...['-device', 'virtserialport,chardev=agent,name=org.qemu.guest_agent.0'],
      ...['-rtc', 'base=2020-01-01T00:00:00'],
    ];
  }

  /** It has no clock, and nothing through which it could be asked anything but its network. */
  #raspberryPi(machine: BoardMachine): string[] {
    const { card, kernel, forgets = false } = this.#options;
    return [
      ...['-M', machine, '-dtb', deviceTree(machine, kernel, this.#options.dir)],
      ...['-drive', `file=${card},format=raw,if=sd,cache=unsafe,snapshot=${forgets ? 'on' : 'off'}`],
      ...['-device', `usb-net,netdev=net,mac=${mac}`],
    ];
  }
}
