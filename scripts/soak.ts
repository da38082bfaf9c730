/**
 * `npm run test:soak [-- options]`: what `npm test` shows in seconds, for as long as it takes to believe it.
 *
 * A real device answers thousands of prompts while the daemon, the engine, the broker and the network
 * between them are killed, cut and frozen, and its disk is full; it is offered ten times what it can do.
 * Exits 1 where anything is lost, answered in two ways or computed twice, or grows without bound.
 */

import { parseArgs } from 'node:util';
import { Progress } from '../src/cli/progress.ts';
import { cluster, clusterFailures, clusterTable } from '../test/soak/cluster.ts';
import { overload } from '../test/soak/overload.ts';
import { overloadFailures, overloadTable } from '../test/soak/overload-report.ts';
import { soak } from '../test/soak/soak.ts';
import { soakFailures, soakTable } from '../test/soak/soak-report.ts';
import { startRabbitMq } from '../test/support/rabbitmq.ts';
import type { Stage } from '../test/support/stage.ts';
import { buildAll } from './build.ts';
import { installHint, installMissing } from './debian.ts';

const usage = `npm run test:soak [-- [lane …] [options]]

  soak             prompts under seeded faults, with Mosquitto
  overload         two minutes of ten times as many prompts as the device can answer
  nats             the node of a cluster dies that the device is connected to
  rabbitmq         fewer prompts under the same faults, with RabbitMQ and MQTT 3.1.1

  --prompts <n>    how many prompts the soak asks (default: 10000)
  --minutes <n>    ends the soak after so long, with what was asked by then (default: 60)
  --seed <n>       which faults, when (default: another one each time; it is printed)`;

interface Options {
  prompts: number;
  minutes: number;
  seed: number;
}

/** Each prints what it saw, and returns what it must not have seen; null where it was skipped. */
const lanes: Record<string, (options: Options) => Promise<string[] | null>> = {
  soak: soakLane,
  overload: overloadLane,
  nats: natsLane,
  rabbitmq: rabbitMqLane,
};

const overloadSeconds = 120;
const overloadFactor = 10;
/** Its broker needs seconds for each start. */
const rabbitMqPrompts = 500;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    prompts: { type: 'string', default: '10000' },
    minutes: { type: 'string', default: '60' },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 1_000_000)) },
    help: { type: 'boolean', short: 'h', default: false },
  },
});
process.exitCode = await main();

async function main(): Promise<number> {
  const options = {
    prompts: Number(values.prompts),
    minutes: Number(values.minutes),
    seed: Number(values.seed),
  };
  const unknown = positionals.filter((lane) => !Object.hasOwn(lanes, lane));
  if (values.help || unknown.length > 0 || !Object.values(options).every((value) => value >= 0)) {
    console.log(unknown.length > 0 ? `slmd: there is no lane ${unknown.join(', ')}\n\n${usage}` : usage);
    return values.help ? 0 : 2;
  }
  const missing = installMissing({ mosquitto: 'mosquitto' });
  if (missing.length > 0) {
    console.error(`slmd: ${installHint(missing)}`);
    return 1;
  }
  await buildAll();
  let failed = false;
  for (const name of positionals.length === 0 ? Object.keys(lanes) : positionals) {
    const failures = (await lanes[name]?.(options)) ?? null;
    for (const failure of failures ?? []) console.log(`FAIL  ${name}: ${failure}`);
    if (failures?.length === 0) console.log(`pass  ${name}`);
    failed ||= failures !== null && failures.length > 0;
  }
  return failed ? 1 : 0;
}

async function soakLane({ prompts, minutes, seed }: Options): Promise<string[]> {
  const bar = new Progress(`soak, seed ${seed}`);
  const report = await soak({
    seed,
    prompts,
    minutes,
    prompts_per_fault: 50,
    progress: (answered) => bar.report(answered, prompts),
  });
  bar.end();
  console.log(soakTable(report));
  return soakFailures(report);
}

async function overloadLane({ seed }: Options): Promise<string[]> {
  const bar = new Progress(`overload, seed ${seed}`);
  const progress = (second: number) => bar.report(second, overloadSeconds);
  const report = await overload({ seed, seconds: overloadSeconds, factor: overloadFactor, progress });
  bar.end();
  console.log(overloadTable(report));
  return overloadFailures(report, overloadFactor);
}

async function natsLane({ seed }: Options): Promise<string[] | null> {
  if (skipped('nats', { 'nats-server': 'nats-server' })) return null;
  const report = await cluster(seed);
  console.log(clusterTable(report));
  return clusterFailures(report);
}

async function rabbitMqLane({ seed, minutes }: Options): Promise<string[] | null> {
  if (skipped('rabbitmq', { 'rabbitmq-server': 'rabbitmq-server' })) return null;
  const broker = {
    name: 'RabbitMQ',
    version: 4 as const,
    start: (stage: Stage) => startRabbitMq(stage.directory()),
  };
  const bar = new Progress(`rabbitmq, seed ${seed}`);
  const progress = (answered: number) => bar.report(answered, rabbitMqPrompts);
  const report = await soak({
    broker,
    seed,
    prompts: rabbitMqPrompts,
    minutes,
    prompts_per_fault: 25,
    progress,
  });
  bar.end();
  console.log(soakTable(report));
  return soakFailures(report);
}

/** Whether a lane has no broker here; then it has said so. */
function skipped(lane: string, packages: Readonly<Record<string, string>>): boolean {
  const missing = installMissing(packages);
  if (missing.length === 0) return false;
  console.log(`skip  ${lane}: ${installHint(missing)}`);
  return true;
}
