import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { globSync, mkdirSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { leash } from './leash.ts';
import type { Mosquitto } from './mosquitto.ts';
import { freePort } from './mosquitto.ts';
import { restartable } from './restartable.ts';

export type RabbitMq = Pick<Mosquitto, 'port' | 'url' | 'kill' | 'start' | 'stop'>;

/** An Erlang machine and a database start slowly. */
const startMs = 90_000;

/**
 * RabbitMQ with its MQTT plugin (3.1.1) on loopback, with all its files in `dir` and a port mapper of its
 * own: nothing of the machine's RabbitMQ, where there is one, is touched.
 */
export async function startRabbitMq(dir: string): Promise<RabbitMq> {
  const [port, amqp, distribution, mapper] = [
    await freePort(),
    await freePort(),
    await freePort(),
    await freePort(),
  ];
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, 'enabled_plugins'), '[rabbitmq_mqtt].\n');
  writeFileSync(
    join(dir, 'rabbitmq.conf'),
    [
      `listeners.tcp.1 = 127.0.0.1:${amqp}`,
      `mqtt.listeners.tcp.1 = 127.0.0.1:${port}`,
      'mqtt.allow_anonymous = true',
      '',
    ].join('\n'),
  );
  const env = {
    ...process.env,
    // The cookie that lets Erlang nodes talk to each other is written here.
    HOME: dir,
    ERL_EPMD_PORT: String(mapper),
    ERL_EPMD_ADDRESS: '127.0.0.1',
    RABBITMQ_NODENAME: `slmd-${port}@localhost`,
    RABBITMQ_DIST_PORT: String(distribution),
    RABBITMQ_MNESIA_BASE: join(dir, 'mnesia'),
    RABBITMQ_LOG_BASE: join(dir, 'log'),
    RABBITMQ_CONFIG_FILE: join(dir, 'rabbitmq.conf'),
    RABBITMQ_ENABLED_PLUGINS_FILE: join(dir, 'enabled_plugins'),
    RABBITMQ_PID_FILE: join(dir, 'pid'),
    // With this its script becomes the server, so that a signal reaches the server and not a shell.
    RABBITMQ_ALLOW_INPUT: '1',
    RABBITMQ_SERVER_START_ARGS: '-noinput -kernel inet_dist_use_interface {127,0,0,1}',
  };
  const run = (command: string, args: string[]) => {
    const [program = '', ...rest] = [...leash, command, ...args];
    return spawn(program, rest, { stdio: 'ignore', env, cwd: dir });
  };
  const names = run('epmd', ['-port', String(mapper), '-address', '127.0.0.1']);
  const { start, kill } = restartable(
    () => run(serverScript(), []),
    (broker) => listening(port, broker),
  );
  await start();
  return {
    port,
    url: `mqtt://127.0.0.1:${port}`,
    kill,
    start,
    stop: async () => {
      await kill('SIGKILL');
      names.kill('SIGKILL');
    },
  };
}

/** The server itself; what lies on the path is Debian's, and runs it as another user. */
function serverScript(): string {
  const [script] = globSync('/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server');
  if (script === undefined) throw new Error('rabbitmq-server is not installed');
  return script;
}

async function listening(port: number, broker: ChildProcess): Promise<void> {
  const end = performance.now() + startMs;
  while (performance.now() < end && broker.exitCode === null) {
    const socket = connect(port, '127.0.0.1');
    const answer = await once(socket, 'connect').catch(() => null);
    socket.destroy();
    if (answer !== null) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`rabbitmq does not listen on port ${port} (exit code ${broker.exitCode})`);
}
