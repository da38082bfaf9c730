import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { arch, constants, endianness } from 'node:os';
import { join } from 'node:path';
import { commandMissing } from './mosquitto.ts';
import { unitSetting } from './unit-file.ts';

/** Why the unit's sandbox cannot be built here, or false. With CI=true it throws instead. */
export function sandboxMissing(): string | false {
  if (arch() !== 'x64') return 'the seccomp program is written for x86-64';
  const tools = { bwrap: '--version', scmp_sys_resolver: '-h', 'systemd-analyze': '--version' };
  for (const [command, flag] of Object.entries(tools)) {
    const missing = commandMissing(command, [flag]);
    if (missing !== false) return missing;
  }
  const made = spawnSync('bwrap', ['--unshare-user', '--ro-bind', '/', '/', 'true'], { encoding: 'utf8' });
  if (made.status === 0) return false;
  if (process.env.CI === 'true') throw new Error(`bwrap does not work here: ${made.stderr}`);
  return 'bwrap may not make namespaces here';
}

export interface SandboxOptions {
  /** The only place that can be written, besides an empty /tmp. */
  state: string;
  /** Places under /tmp, /home or /root that can be read all the same. */
  readable: string[];
}

/**
 * A command line before which a program runs as slmd.service does, as far as this can be had without
 * systemd: its system call filter and address families as a seccomp program, no capabilities, no new
 * privileges, a user and process namespace of its own, everything read-only but the state, no devices, no
 * homes. What is missing: the memory and address limits of a control group.
 */
export function sandboxed({ state, readable }: SandboxOptions): string[] {
  const program = join(state, 'seccomp.bpf');
  writeFileSync(program, seccompProgram());
  const bind = (how: string, path: string) => [how, path, path];
  const bwrap = [
    ...['bwrap', '--unshare-user', '--uid', '64242', '--gid', '64242', '--unshare-pid', '--unshare-ipc'],
    ...['--unshare-uts', '--cap-drop', 'ALL', '--die-with-parent', '--new-session', '--seccomp', '9'],
    ...bind('--ro-bind', '/'),
    ...['--dev', '/dev', '--proc', '/proc', '--tmpfs', '/tmp', '--tmpfs', '/home', '--tmpfs', '/root'],
    ...readable.flatMap((path) => bind('--ro-bind', path)),
    ...bind('--bind', state),
  ];
  return ['sh', '-c', 'program=$1; shift; exec "$@" 9< "$program"', 'sh', program, ...bwrap];
}

/**
 * The unit's `SystemCallFilter=` and `RestrictAddressFamilies=` as a classic BPF program for x86-64.
 * Source: seccomp(2), struct seccomp_data; the numbers of the instructions are those of linux/bpf_common.h.
 */
export function seccompProgram(): Buffer {
  const [nr, architecture, firstArgument] = [0, 4, 16];
  const allow = 0x7fff_0000;
  const errno = (number: number) => 0x0005_0000 | number;
  const load = (offset: number) => [0x20, 0, 0, offset];
  const ifEqual = (value: number, then: number, otherwise: number) => [0x15, then, otherwise, value];
  const end = (verdict: number) => [0x06, 0, 0, verdict];
  const { EPERM, EAFNOSUPPORT } = constants.errno;
  const families = unitSetting('RestrictAddressFamilies')[0]?.split(' ') ?? [];
  const program = [
    load(architecture),
    ifEqual(0xc000_003e, 1, 0),
    end(errno(EPERM)),
    load(nr),
    // socket(2): only these families.
    ifEqual(numbersOf(['socket'])[0] ?? -1, 0, 2 + 2 * families.length),
    load(firstArgument),
    ...families.flatMap((family) => [ifEqual(familyNumbers[family] ?? -1, 0, 1), end(allow)]),
    end(errno(EAFNOSUPPORT)),
    ...numbersOf(allowedCalls()).flatMap((number) => [ifEqual(number, 0, 1), end(allow)]),
    end(errno(EPERM)),
  ];
  const bytes = Buffer.alloc(program.length * 8);
  if (endianness() !== 'LE') throw new Error('the program is written for a little-endian machine');
  for (const [i, [code = 0, then = 0, otherwise = 0, value = 0]] of program.entries()) {
    bytes.writeUInt16LE(code, i * 8);
    bytes.writeUInt8(then, i * 8 + 2);
    bytes.writeUInt8(otherwise, i * 8 + 3);
    bytes.writeUInt32LE(value >>> 0, i * 8 + 4);
  }
  return bytes;
}

const familyNumbers: Record<string, number> = { AF_UNIX: 1, AF_INET: 2, AF_INET6: 10 };

/** An allow list as systemd reads it: the first line adds, one with a tilde takes away. */
function allowedCalls(): string[] {
  const allowed = new Set(callsOf('@default'));
  for (const line of unitSetting('SystemCallFilter')) {
    const names = line.replace(/^~/, '').split(' ').flatMap(callsOf);
    for (const name of names) {
      if (line.startsWith('~')) allowed.delete(name);
      else allowed.add(name);
    }
  }
  return [...allowed];
}

function callsOf(name: string): string[] {
  if (!name.startsWith('@')) return [name];
  const { stdout } = spawnSync('systemd-analyze', ['syscall-filter', '--no-pager', name], {
    encoding: 'utf8',
  });
  const listed = stdout
    .split('\n')
    .slice(1)
    .map((line) => line.trim());
  return listed.filter((line) => line !== '' && !line.startsWith('#')).flatMap(callsOf);
}

/** Calls that this architecture does not have are left out. */
function numbersOf(names: string[]): number[] {
  const script = 'for name; do scmp_sys_resolver -a x86_64 "$name"; done';
  const { stdout } = spawnSync('sh', ['-c', script, 'sh', ...names], { encoding: 'utf8' });
  return stdout
    .trim()
    .split('\n')
    .map(Number)
    .filter((number) => number >= 0);
}
