import { describe } from 'node:test';
import { startEmbeddedBroker } from '../../src/mqtt/embedded-broker.ts';
import { mosquittoMissing, startMosquitto } from './mosquitto.ts';

/** A way to connect a device: which broker, and which MQTT the device speaks to it. */
export interface BrokerKind {
  name: string;
  /** What `mqtt.protocol` is set to. */
  protocol: 'auto' | '3.1.1';
  /** What is spoken then. */
  spoken: '5.0' | '3.1.1';
  /** The version as MQTT.js numbers it, for a client that wants what the device has. */
  version: 5 | 4;
  start(): Promise<RunningBroker>;
}

export interface RunningBroker {
  url: string;
  port: number;
  stop(): Promise<void>;
}

const mosquitto = { start: () => startMosquitto() };

const kinds: (BrokerKind & { missing: string | false })[] = [
  {
    name: 'Mosquitto over MQTT 5',
    protocol: 'auto',
    spoken: '5.0',
    version: 5,
    missing: mosquittoMissing(),
    ...mosquitto,
  },
  {
    name: 'Mosquitto over MQTT 3.1.1',
    protocol: '3.1.1',
    spoken: '3.1.1',
    version: 4,
    missing: mosquittoMissing(),
    ...mosquitto,
  },
  {
    name: 'aedes',
    protocol: 'auto',
    spoken: '3.1.1',
    version: 4,
    missing: false,
    start: () => startEmbeddedBroker(),
  },
];

/**
 * Declares the same tests for each broker and protocol that slmd promises to work with.
 *
 * @param concurrency how many of one broker's tests run at once: more than one where they mostly wait
 */
export function onEachBroker(title: string, declare: (kind: BrokerKind) => void, concurrency = 1): void {
  for (const { missing, ...kind } of kinds)
    describe(`${title}, ${kind.name}`, { skip: missing, concurrency }, () => declare(kind));
}
