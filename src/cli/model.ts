import { CommandError, exitCodes } from './exit-codes.ts';
import { buildUsage, modelBuild } from './model-build.ts';
import { evalUsage, modelEval } from './model-eval.ts';

export const usage = `slmd model build <checkpoint> --out <dir>   turns a safetensors checkpoint into a model
slmd model eval <model> --data <file>       asks a model many questions and counts

${buildUsage}

${evalUsage}`;

const commands: Record<string, (args: string[]) => Promise<void>> = { build: modelBuild, eval: modelEval };

export async function model([name, ...args]: string[]): Promise<void> {
  const command = commands[name ?? ''];
  if (command === undefined) throw new CommandError(exitCodes.usage, usage);
  await command(args);
}
