import mqttPacket, { type Packet, type Parser } from 'mqtt-packet';

export type End = 'device' | 'broker';

/** An MQTT packet on its way between a device and its broker. */
export interface Passing {
  /** Counts connections, from 1. */
  connection: number;
  from: End;
  packet: Packet;
  /** Of a PUBLISH its topic; of a PUBACK that of what it acknowledges, null where this connection has none such. */
  topic: string | null;
  /** The packet as it is on the wire. */
  bytes: Buffer;
}

/**
 * What two ends say to each other on one connection, packet by packet.
 *
 * INVARIANT: every byte of a whole packet comes out once, in order, whether the packet is understood or not.
 */
export class Conversation {
  readonly #connection: number;
  readonly #rest: Record<End, Buffer> = { device: Buffer.alloc(0), broker: Buffer.alloc(0) };
  /** Topics of QoS 1 messages that were not acknowledged yet, by sender and packet identifier. */
  readonly #unacknowledged = { device: new Map<number, string[]>(), broker: new Map<number, string[]>() };
  #parsers: Record<End, Parser> = { device: mqttPacket.parser(), broker: mqttPacket.parser() };

  constructor(connection: number) {
    this.#connection = connection;
  }

  /** The packets that these bytes complete. */
  hear(from: End, bytes: Buffer): Passing[] {
    let rest = Buffer.concat([this.#rest[from], bytes]);
    const passing: Passing[] = [];
    for (let length = packetLength(rest); length !== null && length <= rest.length; ) {
      passing.push(this.#read(from, rest.subarray(0, length)));
      rest = rest.subarray(length);
      length = packetLength(rest);
    }
    this.#rest[from] = rest;
    return passing;
  }

  #read(from: End, bytes: Buffer): Passing {
    const read: Packet[] = [];
    const collect = (packet: Packet) => read.push(packet);
    this.#parsers[from].on('packet', collect);
    this.#parsers[from].parse(bytes);
    this.#parsers[from].removeListener('packet', collect);
    const [packet] = read;
    if (packet === undefined) throw new Error(`no packet of MQTT: ${bytes.toString('hex')}`);
    if (packet.cmd === 'connect') {
      const { protocolVersion = 4 } = packet;
      this.#parsers = {
        device: mqttPacket.parser({ protocolVersion }),
        broker: mqttPacket.parser({ protocolVersion }),
      };
    }
    return { connection: this.#connection, from, packet, topic: this.#topicOf(from, packet), bytes };
  }

  /** A packet of this conversation passes once more. */
  again({ from, packet }: Passing): void {
    this.#topicOf(from, packet);
  }

  #topicOf(from: End, packet: Packet): string | null {
    if (packet.cmd === 'publish') {
      const awaited = this.#unacknowledged[from];
      const id = packet.messageId ?? 0;
      if (packet.qos === 1) awaited.set(id, [...(awaited.get(id) ?? []), packet.topic]);
      return packet.topic;
    }
    if (packet.cmd !== 'puback') return null;
    const awaited = this.#unacknowledged[from === 'device' ? 'broker' : 'device'];
    return awaited.get(packet.messageId ?? 0)?.shift() ?? null;
  }
}

/** MQTT 5.0 §2.1: a byte of type and flags, a variable byte integer of what remains, and what remains. */
function packetLength(bytes: Buffer): number | null {
  let remaining = 0;
  for (let i = 1; i < Math.min(bytes.length, 5); i++) {
    const byte = bytes[i] as number;
    remaining += (byte & 0x7f) * 128 ** (i - 1);
    if (byte < 0x80) return i + 1 + remaining;
  }
  return null;
}
