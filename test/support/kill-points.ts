import type { DiskPoint } from './dying-storage.ts';
import type { FaultProxy } from './proxy.ts';
import type { Passing } from './wire.ts';

/** A packet on the wire, at the sight of which the device is killed. */
export interface WirePoint {
  from: Passing['from'];
  cmd: 'publish' | 'puback';
  /** The topic of the message, or of what is acknowledged, begins so after `slmd/<device>/`. */
  topic: 'prompt' | 'token' | 'result';
  /** Which such message, from 1; what is sent again counts once. */
  hit: number;
  /** Whether the packet still reaches its receiver. */
  arrives: boolean;
}

/** A point on a prompt's way at which the device dies: on its way to the disk, or on the wire. */
export type KillPoint = { name: string } & ({ disk: DiskPoint } | { wire: WirePoint });

const secondPrompt = 2;

/** Every point of the protocol's state machine, at the second of several prompts. */
export const killPoints: readonly KillPoint[] = [
  disk('a prompt is received and not journaled', 'accepted', 'before_write'),
  disk('half of a prompt is in the journal', 'accepted', 'torn'),
  disk('a prompt is in the journal and not durable', 'accepted', 'written'),
  disk('a prompt is journaled and not acknowledged', 'accepted', 'synced'),
  wire('a prompt’s PUBACK is lost', 'device', 'puback', 'prompt', false),
  wire('a prompt is acknowledged', 'device', 'puback', 'prompt', true),
  disk('an attempt is about to begin', 'started', 'before_write'),
  disk('an attempt has begun', 'started', 'synced'),
  wire('an answer is under way', 'device', 'publish', 'token', true),
  disk('a result is computed and not journaled', 'finished', 'before_write'),
  disk('half of a result is in the journal', 'finished', 'torn'),
  disk('a result is in the journal and not durable', 'finished', 'written'),
  disk('a result is journaled and not published', 'finished', 'synced'),
  wire('a result is lost on its way', 'device', 'publish', 'result', false),
  wire('a result is published', 'device', 'publish', 'result', true),
  wire('a result’s PUBACK is lost', 'broker', 'puback', 'result', false),
  disk('a result is acknowledged and that is not journaled', 'delivered', 'before_write'),
  disk('a prompt is over', 'delivered', 'synced'),
];

/** Calls `reached` at the point, once, while the packet is held. */
export function watchFor(
  proxy: FaultProxy,
  { from, cmd, topic, hit, arrives }: WirePoint,
  reached: () => void,
) {
  const seen = new Set<string>();
  proxy.watch((passing) => {
    const rest = passing.topic?.split('/').slice(2).join('/') ?? '';
    if (passing.from !== from || passing.packet.cmd !== cmd || !rest.startsWith(topic)) return undefined;
    // Prompts share a topic, and none is sent again before the point: each counts.
    seen.add(topic === 'prompt' ? `${seen.size}` : rest);
    if (seen.size !== hit) return undefined;
    proxy.watch(() => 'drop');
    reached();
    return arrives ? undefined : 'drop';
  });
}

function disk(name: string, record: DiskPoint['record'], moment: DiskPoint['moment']): KillPoint {
  return { name, disk: { record, hit: secondPrompt, moment } };
}

function wire(
  name: string,
  from: WirePoint['from'],
  cmd: WirePoint['cmd'],
  topic: WirePoint['topic'],
  arrives: boolean,
): KillPoint {
  return { name, wire: { from, cmd, topic, hit: secondPrompt, arrives } };
}
