import { parseArgs } from 'node:util';
import { examine } from '../doctor/doctor.ts';
import type { Finding, Level } from '../doctor/finding.ts';
import { Board } from '../telemetry/board.ts';
import { configFile, readConfiguration } from './configuration.ts';
import { CommandError, exitCodes } from './exit-codes.ts';

export const usage = `slmd doctor [--config <file>] [--json]

Looks at the board, its memory and disk, the model and the way to the broker, and says one line for each
finding, with what to do about it. It changes nothing, and may run beside the daemon.

  --config <file>  the YAML file (default: $SLMD_CONFIG, else /etc/slmd/slmd.yaml if there)
  --json           one JSON object a line: {"check", "level", "message", "fix"}

Levels are ok, note, warning and problem.
Exit code: 0 without a problem, 1 with one, 3 for a configuration that is not valid.`;

const marks: Record<Level, string> = {
  ok: 'ok     ',
  note: 'note   ',
  warning: 'warning',
  problem: 'PROBLEM',
};

export async function doctor(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: { config: { type: 'string' }, json: { type: 'boolean', default: false } },
  });
  const loaded = readConfiguration(configFile(values.config));
  let problems = 0;
  for await (const finding of examine({ loaded, board: new Board() })) {
    console.log(values.json ? JSON.stringify(finding) : lineOf(finding));
    if (finding.level === 'problem') problems++;
  }
  if (problems > 0)
    throw new CommandError(
      exitCodes.failed,
      problems === 1 ? 'there is a problem' : `there are ${problems} problems`,
    );
}

function lineOf({ check, level, message, fix }: Finding): string {
  const line = `${marks[level]}  ${check.padEnd(21)}  ${message}`;
  return fix === null ? line : `${line}\n${' '.repeat(32)}→ ${fix}`;
}
