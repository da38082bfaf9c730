import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { leash } from './leash.ts';
import { freePort } from './mosquitto.ts';

export interface NatsNode {
  port: number;
  url: string;
  kill(signal: NodeJS.Signals): Promise<void>;
  start(): void;
  stop(): Promise<void>;
}

/** How long a node waits for an acknowledgement before it brings a message again. */
export const ackWaitMs = 5000;

/**
 * Nodes of NATS with JetStream, one cluster, on loopback. They have been started, and will elect their
 * leaders in some seconds: until then they refuse MQTT.
 */
export async function startNats(dir: string, count = 3): Promise<NatsNode[]> {
  const ports = await Promise.all(
    Array.from({ length: count }, async () => ({
      client: await freePort(),
      cluster: await freePort(),
      mqtt: await freePort(),
    })),
  );
  const routes = ports.map(({ cluster }) => `nats-route://127.0.0.1:${cluster}`);
  return ports.map((own, i) => {
    const config = join(dir, `node-${i}.conf`);
    mkdirSync(join(dir, `node-${i}`), { recursive: true });
    writeFileSync(
      config,
      [
        `server_name: node-${i}`,
        `listen: 127.0.0.1:${own.client}`,
        `jetstream { store_dir: "${join(dir, `node-${i}`)}" }`,
        `cluster { name: slmd, listen: 127.0.0.1:${own.cluster}, routes: [${routes.join(', ')}] }`,
        `mqtt { listen: "127.0.0.1:${own.mqtt}", ack_wait: "${ackWaitMs}ms" }`,
        '',
      ].join('\n'),
    );
    return new Node(own.mqtt, config);
  });
}

class Node implements NatsNode {
  readonly port: number;
  readonly #config: string;
  #process: ChildProcess | null = null;

  constructor(port: number, config: string) {
    this.port = port;
    this.#config = config;
    this.start();
  }

  get url(): string {
    return `mqtt://127.0.0.1:${this.port}`;
  }

  start(): void {
    const [command = '', ...args] = [...leash, 'nats-server', '-c', this.#config];
    const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` };
    this.#process = spawn(command, args, { stdio: 'ignore', env });
  }

  async kill(signal: NodeJS.Signals): Promise<void> {
    const node = this.#process;
    if (node === null || node.exitCode !== null || node.signalCode !== null) return;
    const exited = once(node, 'exit');
    node.kill(signal);
    await exited;
  }

  stop(): Promise<void> {
    return this.kill('SIGKILL');
  }
}
