import type { Config } from './config/schema.ts';
import type { Info } from './contract/status.ts';
import type { EngineInfo } from './ipc/messages.ts';
import { version } from './lib/version.ts';

export interface InfoSources {
  config: Config;
  boot: string;
  board: Info['board'];
  /** Null until the engine is ready. */
  engine: EngineInfo | null;
}

/** What requesters may rely on beyond the basic contract. */
const features = [
  'stream',
  'cancel',
  'priority',
  'deadline',
  'response_topic',
  'seed',
  'stop',
  'user',
  'json_object',
  'json_schema',
];

/** What this device is and can do, but for the protocol, which each connection decides. */
export function infoOf({ config, boot, board, engine }: InfoSources): Omit<Info, 'protocol'> {
  const { device, limits, generation } = config;
  return {
    device,
    version: version(),
    boot,
    board,
    engine: engine === null ? null : { ...engine.engine, load_ms: Math.round(engine.load_ms) },
    model: engine?.model ?? null,
    bench: engine?.bench ?? null,
    limits: {
      payload_bytes_max: limits.payload_bytes_max,
      queue_depth_max: limits.queue_depth_max,
      queue_bytes_max: limits.queue_bytes_max,
      deadline_default_ms: generation.deadline_ms,
    },
    features,
  };
}
