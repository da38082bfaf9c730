/**
 * `slmd run` with an engine of the test's choice: its entry is the first argument, a point at which the
 * process dies may be the second (a `DiskPoint` as JSON), and everything else is in the environment.
 */

import { once } from 'node:events';
import { join } from 'node:path';
import { loadConfig } from '../../src/config/config.ts';
import { Daemon } from '../../src/daemon.ts';
import { createLogger } from '../../src/lib/logger.ts';
import { serviceManager } from '../../src/lib/service-manager.ts';
import { Board } from '../../src/telemetry/board.ts';
import { type DiskPoint, DyingStorage } from './dying-storage.ts';

const [, , engine_entry = '', point] = process.argv;
const { config, profile } = loadConfig({
  file: null,
  env: process.env,
  board: new Board().identity(),
  profiles_dir: join(import.meta.dirname, '..', '..', 'devices'),
});
const daemon = new Daemon({
  config,
  profile,
  board: new Board(),
  log: createLogger(config.log.level, config.log.format),
  engine_entry,
  manager: serviceManager(process.env),
  ...(point === undefined ? {} : { storage: new DyingStorage(JSON.parse(point) as DiskPoint) }),
});
await daemon.start();
await once(process, 'SIGTERM');
await daemon.stop();
