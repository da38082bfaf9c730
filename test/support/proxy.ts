import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { inTime } from './wait.ts';

export interface Proxy {
  url: string;
  /** Connections that were accepted so far. */
  readonly accepted: number;
  /** Resolves when somebody has connected. */
  connected(): Promise<void>;
  /** Ends every connection with a reset, now. */
  cut(): void;
  /** Passes nothing on and says nothing, until it is called with false. */
  blackhole(on: boolean): void;
  /** Hangs up on whoever connects, until it is called with false. */
  refuse(on: boolean): void;
  /** Hangs up on the next so many that connect. */
  refuseNext(count: number): void;
  stop(): Promise<void>;
}

/** The network between a device and its broker, with the faults that a test asks for. */
export async function startProxy(target: { port: number }): Promise<Proxy> {
  const sockets = new Set<Socket>();
  const somebody = Promise.withResolvers<void>();
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
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from);
      from.setNoDelay(true);
      from.on('data', (bytes) => {
        if (!deaf) to.write(bytes);
      });
      from.on('error', () => to.destroy());
      from.on('close', () => {
        sockets.delete(from);
        to.destroy();
      });
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const cut = () => {
    for (const socket of sockets) socket.resetAndDestroy();
  };
  return {
    url: `mqtt://127.0.0.1:${(server.address() as { port: number }).port}`,
    get accepted() {
      return accepted;
    },
    connected: () => inTime(somebody.promise, 'somebody connects'),
    cut,
    blackhole: (on) => {
      deaf = on;
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
