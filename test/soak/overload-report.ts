import { boundedness, boundsTable, outOfBounds } from './bounds.ts';
import type { OverloadReport } from './overload.ts';

/** What an overload may end in: an answer in time, or a word at once that there is no room for it. */
const outcomes: ReadonlySet<string> = new Set(['ok', 'queue_full', 'deadline_unmeetable', 'expired']);
/** A flood that reached less than this of what it should have offered was none. */
const offeredShareMin = 0.5;
/** Refusing costs the device something, and broker and requester share its cores; but it must go on answering. */
const servedShareMin = 0.25;

/** What a flood showed that it must not show; none where it passed. */
export function overloadFailures(report: OverloadReport, factor: number): string[] {
  const { without_result, admitted_p95_ms, deadline_ms, offered_rate, service_rate, served_rate } = report;
  const others = Object.keys(report.outcomes).filter((outcome) => !outcomes.has(outcome));
  return [
    ...(offered_rate < offeredShareMin * factor * service_rate
      ? [`only ${offered_rate.toFixed(0)} prompts a second were offered`]
      : []),
    ...(served_rate < servedShareMin * service_rate
      ? [
          `it answered ${served_rate.toFixed(1)} prompts a second, of the ${service_rate.toFixed(1)} that it can`,
        ]
      : []),
    ...(without_result === 0 ? [] : [`${without_result} prompts have no result`]),
    ...others.map((outcome) => `${report.outcomes[outcome]} prompts ended as ${outcome}`),
    ...(admitted_p95_ms <= deadline_ms
      ? []
      : [`the 95th percentile of what was admitted is beyond its deadline of ${deadline_ms} ms`]),
    ...outOfBounds(report.samples),
  ];
}

export function overloadTable(report: OverloadReport): string {
  const { seed, seconds, service_rate, offered_rate, served_rate, prompts, samples } = report;
  const ends = Object.entries(report.outcomes).map(([outcome, count]) => `${outcome} ${count}`);
  return [
    `overload  seed ${seed} · ${seconds} s · serves ${service_rate.toFixed(0)}/s · is offered ${offered_rate.toFixed(0)}/s · serves ${served_rate.toFixed(0)}/s meanwhile`,
    `${prompts} prompts: ${ends.join(', ')} · without a result ${report.without_result}`,
    `admitted: p50 ${report.admitted_p50_ms.toFixed(0)} ms, p95 ${report.admitted_p95_ms.toFixed(0)} ms, deadline ${report.deadline_ms} ms, from the device's receipt · heard after, of all: p95 ${report.heard_p95_ms.toFixed(0)} ms`,
    '',
    boundsTable(boundedness(samples)),
  ].join('\n');
}
