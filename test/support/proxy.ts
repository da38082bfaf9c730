import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { inTime } from './wait.ts';
import { Conversation, type End, type Passing } from './wire.ts';

/** Sees every packet before it is passed on; `drop` keeps it from being so. */
export type Watcher = (passing: Passing) => 'drop' | undefined;

export interface FaultProxy {
  url: string;
  /** Connections that were accepted so far. */
  readonly accepted: number;
  /** PUBACKs of the device for what this connection never brought: each may lose another message. */
  readonly strayAcks: readonly Passing[];
  /** Resolves when somebody has connected. */
  connected(): Promise<void>;
  /** From now on; one that is set replaces the one before. */
  watch(watcher: Watcher): void;
  /** Sends a packet of the broker's once more on the connection that brought it, as a redelivery. */
  redeliver(passing: Passing): void;
  /** Ends every connection with a reset, now. */
  cut(): void;
  /** Passes nothing more on of the connections there are, and nobody is told: as a router does that forgot them. */
  forget(): void;
  /** Passes nothing on and says nothing, until it is called with false. */
  blackhole(on: boolean): void;
  /** Hangs up on whoever connects, until it is called with false. */
  refuse(on: boolean): void;
  /** Hangs up on the next so many that connect. */
  refuseNext(count: number): void;
  stop(): Promise<void>;
}

/** The network between a device and its broker, with the faults that a test asks for. */
export async function startProxy(target: { port: number }): Promise<FaultProxy> {
  const sockets = new Set<Socket>();
  const open = new Map<number, { conversation: Conversation; near: Socket }>();
  const somebody = Promise.withResolvers<void>();
  const strayAcks: Passing[] = [];
  const unaware: Socket[] = [];
  const forgotten = new Set<number>();
  let watcher: Watcher = () => undefined;
  let accepted = 0;
  let deaf = false;
  let refusals = 0;
  const server = createServer((near) => {
    accepted++;
    somebody.resolve();
    if (refusals > 0) {
      refusals--;
      near.on('error', () => undefined);
      // Hangs up when the CONNECT has come, as a broker does that cannot read it.
      near.once('data', () => near.destroy());
      return;
    }
    const far = connect(target.port, '127.0.0.1');
    const number = accepted;
    const conversation = new Conversation(number);
    const silent = () => deaf || forgotten.has(number);
    open.set(number, { conversation, near });
    const pass = (from: End, bytes: Buffer, to: Socket) => {
      for (const passing of conversation.hear(from, bytes)) {
        if (from === 'device' && passing.packet.cmd === 'puback' && passing.topic === null)
          strayAcks.push(passing);
        if (!silent() && watcher(passing) !== 'drop') to.write(passing.bytes);
      }
    };
    for (const [end, from, to] of [
      ['device', near, far],
      ['broker', far, near],
    ] as const) {
      sockets.add(from);
      from.setNoDelay(true);
      from.on('data', (bytes) => pass(end, bytes, to));
      from.on('error', () => undefined);
      from.on('close', () => {
        sockets.delete(from);
        open.delete(number);
        // That one end has hung up is not heard through silence either.
        if (silent()) unaware.push(to);
        else to.destroy();
      });
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `mqtt://127.0.0.1:${(server.address() as { port: number }).port}`,
    get accepted() {
      return accepted;
    },
    strayAcks,
    connected: () => inTime(somebody.promise, 'somebody connects'),
    watch: (next) => {
      watcher = next;
    },
    redeliver: (passing) => {
      const again = Buffer.from(passing.bytes);
      again[0] = (again[0] as number) | dupFlag;
      open.get(passing.connection)?.conversation.again(passing);
      open.get(passing.connection)?.near.write(again);
    },
    forget: () => {
      for (const number of open.keys()) forgotten.add(number);
    },
    cut: () => {
      for (const socket of sockets) socket.resetAndDestroy();
    },
    blackhole: (on) => {
      deaf = on;
      if (!on) for (const socket of unaware.splice(0)) socket.destroy();
    },
    refuse: (on) => {
      refusals = on ? Infinity : 0;
    },
    refuseNext: (count) => {
      refusals = count;
    },
    stop: async () => {
      server.close();
      for (const socket of sockets) socket.destroy();
      await once(server, 'close');
    },
  };
}

/** MQTT 5.0 §3.3.1.1 */
const dupFlag = 0x08;
