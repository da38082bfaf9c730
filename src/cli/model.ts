import { CommandError, exitCodes } from './exit-codes.ts';
import { activateUsage, modelActivate, modelRollback, rollbackUsage } from './model-activate.ts';
import { buildUsage, modelBuild } from './model-build.ts';
import { evalUsage, modelEval } from './model-eval.ts';
import { inspectUsage, modelInspect } from './model-inspect.ts';
import { modelPull, pullUsage } from './model-pull.ts';
import { keygenUsage, modelKeygen, modelSign, signUsage } from './model-sign.ts';
import { listUsage, modelList, modelRemove, removeUsage } from './model-store.ts';
import { modelVerify, verifyUsage } from './model-verify.ts';

interface Subcommand {
  run(args: string[]): Promise<void>;
  usage: string;
  summary: string;
}

const commands: Record<string, Subcommand> = {
  pull: { run: modelPull, usage: pullUsage, summary: 'downloads a model to the store' },
  build: { run: modelBuild, usage: buildUsage, summary: 'turns a safetensors checkpoint into a model' },
  list: { run: modelList, usage: listUsage, summary: 'the models of the store' },
  inspect: { run: modelInspect, usage: inspectUsage, summary: 'what a model is, and what to do with it' },
  verify: { run: modelVerify, usage: verifyUsage, summary: 'compares every file with its hash' },
  activate: {
    run: modelActivate,
    usage: activateUsage,
    summary: 'tries a model, then lets the daemon serve it',
  },
  rollback: { run: modelRollback, usage: rollbackUsage, summary: 'goes back to the model before' },
  remove: { run: modelRemove, usage: removeUsage, summary: 'removes a model from the store' },
  keygen: { run: modelKeygen, usage: keygenUsage, summary: 'makes keys to sign models with' },
  sign: { run: modelSign, usage: signUsage, summary: 'signs a model' },
  eval: { run: modelEval, usage: evalUsage, summary: 'asks a model many questions and counts' },
};

const overview = `slmd model <command>: fetches, builds, checks and switches models

${Object.entries(commands)
  .map(([name, { summary }]) => `  ${name.padEnd(8)} ${summary}`)
  .join('\n')}

slmd model <command> --help says more.`;

/** Of one command where one is named, else of all. */
export function usage([name]: readonly string[]): string {
  return Object.hasOwn(commands, name ?? '') ? commands[name ?? '']!.usage : overview;
}

export async function model([name, ...args]: string[]): Promise<void> {
  if (name === undefined || !Object.hasOwn(commands, name)) {
    const line = name === undefined ? 'a command is needed' : `there is no command model ${name}`;
    throw new CommandError(exitCodes.usage, `${line}\n\n${overview}`);
  }
  await commands[name]!.run(args);
}
