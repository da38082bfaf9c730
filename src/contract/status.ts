/** Birth, will and what this device is (SLMD-STA, SLMD-INF). */

import { z } from 'zod';

const deviceStates = ['starting', 'ready', 'degraded', 'draining', 'offline'] as const;
export type DeviceState = (typeof deviceStates)[number];

/** Retained on the status topic; the will is the same document with `offline`. */
export interface Status {
  state: DeviceState;
  /** A nonce per process: a reader ignores `offline` of a boot older than the one it knows. */
  boot: string;
  /** Counts the connections of this boot from 1; the will of each has its number. */
  birth: number;
  /** One line for a person, null where the state says it all. */
  why: string | null;
}

const statusSchema = z.object({
  state: z.enum(deviceStates),
  boot: z.string().regex(/^[0-9a-f]{12}$/),
  birth: z.int().min(0),
  why: z.string().nullable(),
});

/** Reads a status document; null for bytes that are none. */
export function readStatus(payload: Buffer): Status | null {
  try {
    return statusSchema.safeParse(JSON.parse(payload.toString())).data ?? null;
  } catch {
    return null;
  }
}

/** Retained on the info topic. */
export interface Info {
  device: string;
  version: string;
  boot: string;
  protocol: '5.0' | '3.1.1';
  board: {
    model: string | null;
    arch: string;
    cpu: string | null;
    cpu_features: string[];
    cores: number;
    memory_bytes: number;
    profile: string;
  };
  /** Null until the engine is ready. */
  engine: {
    name: string;
    version: string;
    backend: string;
    backend_reason: string | null;
    threads: number;
    spin_us: number;
    chosen_by: string;
    accuracy_level: number | null;
    load_ms: number;
  } | null;
  model: {
    id: string;
    sha256: string;
    quantization: string;
    context_length: number;
    parameters: number;
  } | null;
  limits: {
    payload_bytes_max: number;
    queue_depth_max: number;
    queue_bytes_max: number;
    deadline_default_ms: number | null;
  };
  features: string[];
}
