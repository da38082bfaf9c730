/** The periodic telemetry document (SLMD-TEL). Durations end in `_ms`, sizes in `_bytes`. */

import type { ErrorCode } from './errors.ts';
import type { ResultStatus } from './result.ts';

/** Percentiles over the last `window_s` seconds; null where nothing was measured in that window. */
export interface Percentiles {
  count: number;
  p50: number | null;
  p95: number | null;
  p99: number | null;
  max: number | null;
}

export const latencyNames = [
  'queue_ms',
  'tokenize_ms',
  'prefill_ms',
  'decode_ms',
  'ttft_ms',
  'tpot_ms',
  'total_ms',
] as const;
export type LatencyName = (typeof latencyNames)[number];

export const rateNames = ['prefill_tokens_per_second', 'decode_tokens_per_second'] as const;
export type RateName = (typeof rateNames)[number];

/** Counted since the process started; they only grow, so a reader can take differences. */
export interface Counters {
  received: number;
  accepted: number;
  results: Record<ResultStatus, number>;
  errors: Partial<Record<ErrorCode, number>>;
  prompt_tokens: number;
  cached_tokens: number;
  completion_tokens: number;
  /** What guessing cost and won, as in each result's usage (SLMD-RES-11). */
  speculated_tokens: number;
  accepted_tokens: number;
  rerun_tokens: number;
  engine_restarts: number;
  mqtt_reconnects: number;
  /** How often another device with this one's name was noticed. */
  duplicates_detected: number;
  token_batches_dropped: number;
  /** Messages of QoS 0 that were not looked at, because too many before them were not answered (SLMD-ADM-5). */
  messages_dropped: number;
}

export interface BoardHealth {
  soc_temp_c: number | null;
  throttled: string[];
  load_1m: number;
  memory_total_bytes: number;
  memory_available_bytes: number | null;
}

export interface ProcessHealth {
  daemon_rss_bytes: number;
  engine_rss_bytes: number | null;
  /** How late a timer of the daemon fires, 99th percentile since the last document. */
  event_loop_lag_p99_ms: number;
}

export interface Telemetry {
  device: string;
  boot: string;
  seq: number;
  uptime_s: number;
  window_s: number;
  latency: Record<LatencyName, Percentiles>;
  rates: Record<RateName, Percentiles>;
  counters: Counters;
  queue: { depth: number; bytes: number; running: number };
  board: BoardHealth;
  process: ProcessHealth;
}
