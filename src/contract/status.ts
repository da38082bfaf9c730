/** Birth, will and what this device is (SLMD-STA, SLMD-INF). */

export type DeviceState = 'starting' | 'ready' | 'degraded' | 'draining' | 'offline';

/** Retained on the status topic; the will is the same document with `offline`. */
export interface Status {
  state: DeviceState;
  /** A nonce per process: a reader ignores `offline` of a boot older than the one it knows. */
  boot: string;
  /** One line for a person, null where the state says it all. */
  why: string | null;
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
