import { generate, type Packet, writeToStream } from 'mqtt-packet';
import type { IncomingMessage } from './inbox.ts';
import { incoming, type PublishPacket } from './incoming.ts';

/** What of MQTT.js's client a message comes through. */
export interface Receiver {
  readonly connected: boolean;
  /** What the broker's CONNACK said. */
  readonly serverProperties?: { sessionExpiryInterval?: number } | undefined;
  readonly stream: { write(bytes: Buffer): unknown };
  handleMessage(
    packet: PublishPacket & { qos: 0 | 1 | 2; messageId?: number },
    callback: (error?: Error) => void,
  ): void;
}

export interface IntakeOptions {
  protocolVersion: 4 | 5;
  /** Whether the broker was asked to keep what is not acknowledged beyond the connection. */
  sessionKept: boolean;
}

export interface IntakeEvents {
  /**
   * The broker keeps the message, and may bring it again, until it is acknowledged. One of QoS 0 is
   * acknowledged, too, when what it caused is done: nobody hears it, but it makes room.
   */
  message(message: IncomingMessage, acknowledge: () => void): void;
  /** `unacknowledgedMax` messages wait for their acknowledgements: the connection is of no use any more. */
  flooded(): void;
  /** A message of QoS 0 was not looked at: too many before it wait for what they cause to be done. */
  dropped(): void;
}

/**
 * So many messages, then the event loop has a turn: the engine's pieces, the disk and the start of the next
 * prompt do not wait for the end of a burst. MQTT.js alone would go through everything that has arrived.
 */
const messagesPerTurn = 8;
/**
 * How many messages may wait for their acknowledgement: each is a refusal in the outbox, some kilobyte.
 * Brokers keep to a window (RabbitMQ 10, NATS 100, Mosquitto the receive maximum, and some thousand
 * while it empties a queue). One without a window could send until the memory is full.
 *
 * Reading cannot wait for acknowledgements to go out: the broker's own, for which they wait, come by the same way.
 */
export const unacknowledgedMax = 8192;

/**
 * How many messages of QoS 0 may wait so. No acknowledgement holds their sender back, so what goes beyond is
 * dropped, as MQTT allows with them: else refusals of a flood fill the memory, and answers wait behind them.
 */
export const unansweredMax = 1024;

// Else the first packet makes a buffer for each number of two bytes, to be written one day: 7 MB of them.
writeToStream.cacheNumbers = false;

/**
 * Hands messages over, and leaves it to their taker to acknowledge them, when that is right.
 *
 * MQTT.js acknowledges a message once its handler calls back without an error, and reads nothing more
 * until it has called back: a late call would hold up the very PUBACKs and PINGRESPs that others wait
 * for. So the handler calls back at once or after a turn of the loop, with an error that makes MQTT.js leave
 * the PUBACK out, and the PUBACK is written later. It can only go to the connection that brought the message,
 * because each connection has a client of its own: on another one the packet identifier may name another message.
 */
export function receive(
  client: Receiver,
  { protocolVersion, sessionKept }: IntakeOptions,
  events: IntakeEvents,
): void {
  let inTurn = 0;
  let unacknowledged = 0;
  let unanswered = 0;
  client.handleMessage = (packet, callback) => {
    // Not the packet: what waits to be acknowledged must not keep its payload.
    const { messageId, qos } = packet;
    const left = qos === 1 ? new Error('is acknowledged by its taker') : undefined;
    // What comes after the end is not acknowledged, and comes again.
    if (!client.connected) return callback(left);
    const acknowledged = qos === 1;
    if (acknowledged && ++unacknowledged > unacknowledgedMax) {
      events.flooded();
      return callback(left);
    }
    let owed = true;
    const acknowledge = () => {
      if (!owed || !client.connected) return;
      owed = false;
      if (!acknowledged) {
        unanswered--;
        return;
      }
      unacknowledged--;
      const puback = { cmd: 'puback', messageId, reasonCode: 0 };
      client.stream.write(generate(puback as Packet, { protocolVersion }));
    };
    if (!acknowledged && unanswered >= unansweredMax) events.dropped();
    else {
      if (!acknowledged) unanswered++;
      events.message(incoming(packet, acknowledged && sessionKept && keepsSessions(client)), acknowledge);
    }
    if (++inTurn < messagesPerTurn) return callback(left);
    inTurn = 0;
    setImmediate(callback, left);
  };
}

/** A broker may keep a session for less long than it was asked to, and says so: 0 is not at all. */
export function keepsSessions({ serverProperties }: Pick<Receiver, 'serverProperties'>): boolean {
  return serverProperties?.sessionExpiryInterval !== 0;
}
