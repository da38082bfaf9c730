import { boundedness, boundsTable, outOfBounds } from './bounds.ts';
import type { FaultReport, SoakReport } from './soak.ts';

/** A prompt that was struck three times ends in an error, and rightly; hardly any is. */
const okShareMin = 0.99;

/** What a run showed that it must not show; none where it passed. */
export function soakFailures(report: SoakReport): string[] {
  const { verdict, open, forgotten, retained_wrong, samples } = report;
  const ids = (what: string, found: readonly string[]) =>
    found.length === 0 ? [] : [`${what}: ${found.slice(0, 10).join(', ')}${found.length > 10 ? ' …' : ''}`];
  return [
    ...ids('lost', verdict.lost),
    ...ids('conflicting', verdict.conflicting),
    ...ids('computed twice', verdict.computed_twice),
    ...((verdict.statuses.ok ?? 0) >= okShareMin * verdict.prompts
      ? []
      : [`too many ended in an error: ${counts(verdict.statuses)}`]),
    ...ids('accepted and not answered', forgotten),
    ...ids('not at their end in the journal', open),
    ...verdict.quoting.map((line) => `the log quotes somebody: ${line}`),
    ...(retained_wrong === 0 ? [] : [`${retained_wrong} retained results are not what was heard`]),
    ...outOfBounds(samples),
  ];
}

export function soakTable(report: SoakReport): string {
  const { seed, seconds, verdict, faults, disk_skipped, samples } = report;
  const struck = faults.reduce((sum, { times }) => sum + times, 0);
  return [
    `soak  ${report.broker} · seed ${seed} · ${verdict.prompts} prompts · ${struck} faults · ${seconds.toFixed(1)} s`,
    `${'fault'.padEnd(16)} times   next answer after, s: p50    max`,
    ...faults.toSorted((a, b) => a.name.localeCompare(b.name)).map(faultRow),
    ...(disk_skipped === null ? [] : [`disk full         skipped: ${disk_skipped}`]),
    '',
    `answered ${verdict.answered} (${counts(verdict.statuses)}) · lost ${verdict.lost.length} · conflicting ${verdict.conflicting.length} · computed twice ${verdict.computed_twice.length}`,
    `attempts beyond the first ${verdict.repeated_attempts} · sent again ${report.asked_again} · reminded after a killed broker ${report.reminded.length} · results heard again, the same bytes ${verdict.heard_again}`,
    `refusals, each asked again later: ${counts(verdict.refusals) || 'none'}`,
    `remembered at the end ${report.remembered} · retained ${report.remembered - report.retained_lost}, wrong ${report.retained_wrong} · lost by a killed broker and brought back by asking ${report.retained_lost} · not at their end ${report.open.length} · lines of the log that quote somebody ${verdict.quoting.length}`,
    '',
    boundsTable(boundedness(samples)),
  ].join('\n');
}

function faultRow({ name, times, recoveries_ms }: FaultReport): string {
  const sorted = recoveries_ms.toSorted((a, b) => a - b);
  const [p50, max] = [sorted[Math.floor(sorted.length / 2)], sorted.at(-1)];
  const cells = [p50, max].map((ms = 0) => (ms / 1000).toFixed(2).padStart(6));
  return `${name.padEnd(16)} ${String(times).padStart(5)}                       ${cells.join(' ')}`;
}

function counts(of: Record<string, number>): string {
  return Object.entries(of)
    .map(([name, count]) => `${name} ${count}`)
    .join(', ');
}
