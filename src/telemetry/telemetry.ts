import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { Result, Usage } from '../contract/result.ts';
import {
  type Counters,
  type LatencyName,
  latencyNames,
  type Percentiles,
  type RateName,
  rateNames,
  type Telemetry as TelemetryDocument,
} from '../contract/telemetry.ts';
import { monotonicMs } from '../lib/clock.ts';
import type { Board } from './board.ts';
import { RollingHistogram } from './rolling-histogram.ts';

export interface TelemetryOptions {
  device: string;
  boot: string;
  interval_ms: number;
  window_ms: number;
  board: Board;
  queue(): TelemetryDocument['queue'];
  enginePid(): number | null;
  publish(document: TelemetryDocument): void;
}

/** How often the event loop's lateness is sampled. */
const lagResolutionMs = 20;

/** Counts and measures every request, and reports at an interval. It never sees a prompt or an answer. */
export class Telemetry {
  readonly counters: Counters = {
    received: 0,
    accepted: 0,
    results: { ok: 0, error: 0, cancelled: 0, expired: 0, rejected: 0 },
    errors: {},
    prompt_tokens: 0,
    cached_tokens: 0,
    completion_tokens: 0,
    speculated_tokens: 0,
    accepted_tokens: 0,
    rerun_tokens: 0,
    engine_restarts: 0,
    mqtt_reconnects: 0,
    duplicates_detected: 0,
    token_batches_dropped: 0,
    messages_dropped: 0,
  };
  readonly #options: TelemetryOptions;
  readonly #startedAt = monotonicMs();
  readonly #latency: Record<LatencyName, RollingHistogram>;
  readonly #rates: Record<RateName, RollingHistogram>;
  readonly #lag = monitorEventLoopDelay({ resolution: lagResolutionMs });
  #seq = 0;
  #timer: NodeJS.Timeout | null = null;

  constructor(options: TelemetryOptions) {
    this.#options = options;
    this.#latency = histograms(latencyNames, options.window_ms);
    this.#rates = histograms(rateNames, options.window_ms);
  }

  start(): void {
    this.#lag.enable();
    this.#timer = setInterval(() => this.#options.publish(this.document()), this.#options.interval_ms);
  }

  stop(): void {
    this.#lag.disable();
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }

  /** Latencies count for answers alone: a refusal that took no time would flatter the percentiles. */
  record({ status, error, usage, timings }: Result): void {
    this.counters.results[status]++;
    if (error !== undefined) this.counters.errors[error.code] = (this.counters.errors[error.code] ?? 0) + 1;
    if (usage !== null) this.#count(usage);
    if (status !== 'ok' || timings === null) return;
    const now = monotonicMs();
    for (const name of latencyNames)
      if (timings[name] !== null) this.#latency[name].record(timings[name], now);
    for (const name of rateNames) if (timings[name] !== null) this.#rates[name].record(timings[name], now);
  }

  #count(usage: Usage): void {
    for (const [name, tokens] of Object.entries(usage)) this.counters[name as keyof Usage] += tokens;
  }

  document(): TelemetryDocument {
    const { device, boot, board, queue, enginePid } = this.#options;
    const now = monotonicMs();
    const pid = enginePid();
    // The sampled delay includes the sampling interval itself.
    const lag = Math.max(0, this.#lag.percentile(99) / 1e6 - lagResolutionMs);
    this.#lag.reset();
    return {
      device,
      boot,
      seq: this.#seq++,
      uptime_s: Math.round((now - this.#startedAt) / 1000),
      window_s: this.#options.window_ms / 1000,
      latency: percentiles(this.#latency, now),
      rates: percentiles(this.#rates, now),
      counters: structuredClone(this.counters),
      queue: queue(),
      board: board.health(),
      process: {
        daemon_rss_bytes: process.memoryUsage.rss(),
        engine_rss_bytes: pid === null ? null : board.residentBytes(pid),
        event_loop_lag_p99_ms: Number.isFinite(lag) ? Math.round(lag * 10) / 10 : 0,
      },
    };
  }
}

function histograms<Name extends string>(
  names: readonly Name[],
  windowMs: number,
): Record<Name, RollingHistogram> {
  return Object.fromEntries(names.map((name) => [name, new RollingHistogram(windowMs)])) as Record<
    Name,
    RollingHistogram
  >;
}

function percentiles<Name extends string>(
  of: Record<Name, RollingHistogram>,
  now: number,
): Record<Name, Percentiles> {
  const entries = Object.entries<RollingHistogram>(of).map(([name, histogram]) => [
    name,
    histogram.percentiles(now),
  ]);
  return Object.fromEntries(entries) as Record<Name, Percentiles>;
}
