import type { Status } from './contract/status.ts';
import { monotonicMs } from './lib/clock.ts';
import type { Logger } from './lib/logger.ts';
import type { ServiceManager } from './lib/service-manager.ts';

/** What the report is made of, as it is now. */
export interface Vitals {
  connected: boolean;
  model_loaded: boolean;
  status: Pick<Status, 'state' | 'why'>;
  /** Requests that hold a turn. */
  running: number;
  /** Nothing goes on until the journal can be written; that is no fault of the daemon's. */
  waits_for_disk: boolean;
  /** The engine's last sign of life. */
  progressed_at: number;
}

export interface ServiceReportParts {
  /** Null where nobody wants to hear. */
  manager: ServiceManager | null;
  vitals(): Vitals;
  /** Work without any progress for so long is not going to end. */
  stuck_ms: number;
  log: Logger;
}

/** A start that takes longer says so, this often, and asks for that much more time. */
const extendEveryMs = 10_000;
const extensionMs = 30_000;
/** One line of `systemctl status`. */
const statusCharsMax = 200;

/**
 * Tells the service manager how the device is: ready when it has a broker and a model, stopping when it
 * stops, and alive for as long as it gets on with its work.
 *
 * INVARIANTS: READY is delivered once, after the broker's CONNACK and a loaded model; a daemon whose work
 * is stuck is not called alive, so that it is started anew.
 */
export class ServiceReport {
  readonly #parts: ServiceReportParts;
  readonly #pulse: Pulse;
  #ready = false;
  #told = '';
  #timer: NodeJS.Timeout | null = null;
  #silent = false;

  constructor(parts: ServiceReportParts) {
    this.#parts = parts;
    this.#pulse = new Pulse(parts.stuck_ms);
  }

  start(): void {
    if (this.#parts.manager !== null) this.#beat();
  }

  /** Something of the vitals has changed. */
  changed(): void {
    if (this.#parts.manager === null || this.#timer === null) return;
    const { connected, model_loaded, status } = this.#parts.vitals();
    const ready = connected && model_loaded;
    const line = statusLine(status, connected);
    if (!this.#ready && ready) {
      this.#ready = this.#tell({ READY: 1, STATUS: line });
    } else if (line !== this.#told) this.#tell({ STATUS: line });
    else return;
    this.#told = line;
  }

  /** @param limitMs how long stopping may take */
  stopping(limitMs: number): void {
    this.#tell({ STOPPING: 1, STATUS: 'stopping', EXTEND_TIMEOUT_USEC: limitMs * 1000 });
  }

  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  #beat(): void {
    const { watchdog_ms = null } = this.#parts.manager ?? {};
    const half = watchdog_ms === null ? Number.POSITIVE_INFINITY : watchdog_ms / 2;
    const period = this.#ready ? half : Math.min(half, extendEveryMs);
    if (Number.isFinite(period)) this.#timer = setTimeout(() => this.#beat(), period);
    this.changed();
    const fields = {
      ...(this.#ready ? {} : { EXTEND_TIMEOUT_USEC: extensionMs * 1000 }),
      ...(watchdog_ms !== null && this.#alive() ? { WATCHDOG: 1 } : {}),
    };
    if (Object.keys(fields).length > 0) this.#tell(fields);
  }

  #alive(): boolean {
    const alive = this.#pulse.alive(this.#parts.vitals(), monotonicMs());
    if (!alive && !this.#silent)
      this.#parts.log.error(`no progress for ${this.#parts.stuck_ms} ms: the watchdog is not fed any more`);
    this.#silent = !alive;
    return alive;
  }

  #tell(fields: Record<string, string | number>): boolean {
    return this.#parts.manager?.notify(notification(fields)) ?? false;
  }
}

/** Whether work gets on. There is none while nothing has a turn, or while disk or engine are brought back. */
export class Pulse {
  readonly #stuckMs: number;
  #excusedAt = Number.NEGATIVE_INFINITY;

  constructor(stuckMs: number) {
    this.#stuckMs = stuckMs;
  }

  alive({ running, waits_for_disk, model_loaded, progressed_at }: Vitals, now: number): boolean {
    if (running === 0 || waits_for_disk || !model_loaded) this.#excusedAt = now;
    return now - Math.max(this.#excusedAt, progressed_at) <= this.#stuckMs;
  }
}

/** The lines that systemd reads; a value cannot begin a line of its own. */
export function notification(fields: Record<string, string | number>): string {
  const lines = Object.entries(fields).map(([key, value]) => `${key}=${String(value).replaceAll('\n', ' ')}`);
  return lines.map((line) => `${line}\n`).join('');
}

function statusLine({ state, why }: Vitals['status'], connected: boolean): string {
  const line = why === null ? state : `${state}: ${why}`;
  return (connected ? line : `no broker; ${line}`).slice(0, statusCharsMax);
}
