import { createRequire } from 'node:module';
import type * as Koffi from 'koffi';

/** Who started this process and wants to hear how it is: systemd, for a unit of `Type=notify`. */
export interface ServiceManager {
  /** Delivers lines of `KEY=value`; false where that did not work now. */
  notify(text: string): boolean;
  /** A process that is silent for so long is taken for dead; null where nobody watches. */
  watchdog_ms: number | null;
}

/** What systemd gives a service (sd_notify(3), sd_watchdog_enabled(3)). */
export type ServiceEnvironment = Partial<Record<'NOTIFY_SOCKET' | 'WATCHDOG_USEC' | 'WATCHDOG_PID', string>>;

/**
 * Reads from the environment who wants to hear of this process; null where nobody does.
 *
 * Node has no datagrams of the Unix kind, so libc is called for them. The helper `systemd-notify` would be
 * a process for each heartbeat, and one that systemd believes only where it believes all of a service.
 *
 * @throws where libc cannot be called, or the address is none
 */
export function serviceManager(env: ServiceEnvironment): ServiceManager | null {
  const { NOTIFY_SOCKET: address } = env;
  if (address === undefined || address === '') return null;
  return { notify: datagramsTo(address), watchdog_ms: watchdogMs(env) };
}

function watchdogMs({ WATCHDOG_USEC, WATCHDOG_PID }: ServiceEnvironment): number | null {
  if (WATCHDOG_PID !== undefined && WATCHDOG_PID !== String(process.pid)) return null;
  const microseconds = Number(WATCHDOG_USEC);
  return microseconds > 0 ? microseconds / 1000 : null;
}

/** Linux: `AF_UNIX`, `SOCK_DGRAM | SOCK_CLOEXEC`, `MSG_DONTWAIT | MSG_NOSIGNAL`. */
const unixFamily = 1;
const datagramCloseOnExec = 0o2000002;
const dontWaitNoSignal = 0x4040;
/** `sun_path`, with its last NUL. */
const addressBytesMax = 108;

function datagramsTo(address: string): (text: string) => boolean {
  const name = socketAddress(address);
  // Not imported: it is native code, and only a service needs it here.
  const koffi = createRequire(import.meta.url)('koffi') as typeof Koffi;
  const libc = koffi.load(null);
  const socket = libc.func('int socket(int, int, int)');
  const sendto = libc.func('intptr_t sendto(int, const void *, size_t, int, const void *, uint32_t)');
  const fd: number = socket(unixFamily, datagramCloseOnExec, 0);
  if (fd < 0) throw new Error(`a Unix socket cannot be made (errno ${koffi.errno()})`);
  return (text) => {
    const bytes = Buffer.from(text);
    return sendto(fd, bytes, bytes.length, dontWaitNoSignal, name, name.length) === bytes.length;
  };
}

/** A `sockaddr_un`: a path, or after an `@` a name in the abstract space. */
function socketAddress(address: string): Buffer {
  const path = address.startsWith('@') ? `\0${address.slice(1)}` : `${address}\0`;
  if (!/^[@/]/.test(address) || Buffer.byteLength(path) > addressBytesMax)
    throw new Error('NOTIFY_SOCKET is not an address of a Unix socket');
  const family = Buffer.alloc(2);
  family.writeUInt16LE(unixFamily);
  return Buffer.concat([family, Buffer.from(path)]);
}
