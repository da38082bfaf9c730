#!/usr/bin/env node
import { getSystemErrorMessage } from 'node:util';
import { CommandError, exitCodes } from './cli/exit-codes.ts';
import { keepYoungHeapSmall } from './lib/own-memory.ts';
import { version } from './lib/version.ts';

/** Each command is a module of its own, loaded when it is asked for: the daemon stays light. */
const commands = {
  run: {
    summary: 'run the daemon',
    load: () => {
      keepYoungHeapSmall();
      return import('./cli/run.ts').then((m) => ({ run: m.run, usage: m.usage }));
    },
  },
  ask: {
    summary: 'ask a device over MQTT',
    load: () => import('./cli/ask.ts').then((m) => ({ run: m.ask, usage: m.usage })),
  },
  demo: {
    summary: 'a broker, a daemon and three prompts, here and now',
    load: () => import('./cli/demo.ts').then((m) => ({ run: m.demo, usage: m.usage })),
  },
  config: {
    summary: 'check the configuration',
    load: () => import('./cli/config.ts').then((m) => ({ run: m.config, usage: m.usage })),
  },
  doctor: {
    summary: 'look at the board, the model and the way to the broker',
    load: () => import('./cli/doctor.ts').then((m) => ({ run: m.doctor, usage: m.usage })),
  },
  flash: {
    summary: 'write cards and images that come up as devices',
    load: () => import('./cli/flash.ts').then((m) => ({ run: m.flash, usage: m.usage })),
  },
  egress: {
    summary: 'which addresses the service needs to reach',
    load: () => import('./cli/egress.ts').then((m) => ({ run: m.egress, usage: m.usage })),
  },
  model: {
    summary: 'pull, build, check, sign and switch models',
    load: () => import('./cli/model.ts').then((m) => ({ run: m.model, usage: m.usage })),
  },
};

function help(): string {
  const lines = Object.entries(commands).map(([name, { summary }]) => `  ${name.padEnd(8)} ${summary}`);
  return `slmd ${version()}: a small language model on your own board, over MQTT

usage: slmd <command> [options]

${lines.join('\n')}

slmd <command> --help says more.
Exit codes: 0 ok, 1 failed, 2 usage, 3 configuration, 4 broker, 5 timeout, 6 the device answered with an error.`;
}

/** The Node that ships with slmd; an older one lacks what the code relies on. */
const nodeMajorMin = 24;

async function main([name, ...args]: string[]): Promise<number> {
  if (Number(process.versions.node.split('.')[0]) < nodeMajorMin) {
    console.error(
      `slmd: Node ${nodeMajorMin} is needed and this is ${process.version}; npx slmd uses the right one`,
    );
    return exitCodes.failed;
  }
  if (name === '--version' || name === '-v') console.log(version());
  else if (name === '--help' || name === '-h' || name === 'help') console.log(help());
  else if (name === undefined || !Object.hasOwn(commands, name)) {
    console.error(name === undefined ? help() : `slmd: there is no command ${name}\n\n${help()}`);
    return exitCodes.usage;
  } else {
    const command = await commands[name as keyof typeof commands].load();
    if (args.includes('--help') || args.includes('-h'))
      console.log(typeof command.usage === 'string' ? command.usage : command.usage(args));
    else await command.run(args);
  }
  return exitCodes.ok;
}

function exitCodeOf(error: unknown, args: readonly string[]): number {
  if (error instanceof CommandError) {
    console.error(`slmd: ${error.message}`);
    return error.exitCode;
  }
  const { code, message, errno, path } = error as NodeJS.ErrnoException;
  if (code?.startsWith('ERR_PARSE_ARGS')) {
    const command = args[0] === 'model' ? args.slice(0, 2) : args.slice(0, 1);
    console.error(`slmd: ${message}\nslmd ${command.join(' ')} --help says what there is`);
    return exitCodes.usage;
  }
  if (errno === undefined) console.error(error);
  else console.error(`slmd: ${path === undefined ? message : `${path}: ${getSystemErrorMessage(errno)}`}`);
  return exitCodes.failed;
}

// What stands on stdout is written before the process ends; nothing may hold it open after that.
const args = process.argv.slice(2);
process.exitCode = await main(args).catch((error) => exitCodeOf(error, args));
