import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { LoadedConfig } from '../config/config.ts';
import { describeProfile, type ProfileInForce } from '../config/profile-in-force.ts';
import type { VariantKind } from '../ipc/messages.ts';
import { messageOf, SlmdError } from '../lib/errors.ts';
import { engineEntry, shippedModel } from '../lib/package-root.ts';
import { describeForeign } from '../model/foreign.ts';
import { type Manifest, manifestFile, manifestSchema } from '../model/manifest.ts';
import { engineBytes, overweight, sizeOf, sparedByInt8, weightBytes } from '../model/memory-need.ts';
import { ModelChoice } from '../supply/model-choice.ts';
import type { Board, BoardIdentity } from '../telemetry/board.ts';
import { readBandwidth } from './bandwidth.ts';
import { boardFindings } from './board.ts';
import { brokerFindings } from './broker.ts';
import { diskFinding } from './disk.ts';
import { runEngine } from './engine.ts';
import { type Finding, note, ok, problem, warning } from './finding.ts';
import { memoryFinding } from './memory.ts';
import { processorFinding } from './processor.ts';
import { speedFindings } from './speed.ts';
import { clockSynchronised, memoryCgroup } from './system.ts';

export interface Patient {
  loaded: LoadedConfig;
  board: Board;
  /** Stands before the paths of /proc and /sys. */
  root?: string;
}

/**
 * Looks at everything that keeps a device from its work or makes it slow, from the board to the broker,
 * and says each finding as soon as it is known. Nothing is changed, and a daemon that runs is not disturbed.
 */
export async function* examine({ loaded, board, root = '/' }: Patient): AsyncGenerator<Finding> {
  const { config, profile } = loaded;
  const identity = board.identity();
  yield boardLine(identity);
  yield profileLine(profile);
  yield processorFinding({ arch: identity.arch, features: identity.cpu_features });
  const { soc_temp_c, throttled, memory_available_bytes } = board.health();
  yield* boardFindings({
    soc_temp_c,
    throttled,
    throttled_since_boot: board.throttledSinceBoot(),
    memory_cgroup: memoryCgroup(root),
    clock_synchronised: await clockSynchronised(),
    year: new Date().getFullYear(),
  });
  yield await diskFinding(config.journal.dir);
  yield* modelFindings(loaded, identity, board, memory_available_bytes);
  yield* await brokerFindings(config);
}

function boardLine({ model, cpu, arch, cores }: BoardIdentity): Finding {
  return ok('board', `${model ?? cpu ?? arch}, ${cores} cores`);
}

function profileLine(profile: ProfileInForce): Finding {
  const settings = Object.entries(profile.settings).map(([path, value]) => `${path} ${value}`);
  return ok('profile', [describeProfile(profile), ...settings].join(', '));
}

async function* modelFindings(
  { config }: LoadedConfig,
  identity: BoardIdentity,
  board: Board,
  availableBytes: number | null,
): AsyncGenerator<Finding> {
  const { source } = new ModelChoice({ ...config.model, shipped: shippedModel() });
  const { dir } = source;
  const manifest = await readManifest(dir, config.model.variant);
  if (manifest === null) {
    yield problem('model', `there is no model in ${dir}`, 'set model.dir (SLMD_MODEL_DIR), or leave it out');
    return;
  }
  const size = sizeOf(manifest);
  const { context_length_max, prefill_chunk_tokens: chunkTokens, rows } = config.engine;
  const contextTokens = Math.min(manifest.context_length, context_length_max);
  const fit = memoryFinding(
    engineBytes(size, { contextTokens, chunkTokens, rows: rows === 'auto' ? 1 : rows }),
    availableBytes,
    // What others laid out is not built here, and keeps its cache as its graph says.
    manifest.layout === undefined ? sparedByInt8(size, contextTokens) : 0,
  );
  yield fit;
  const heavy = overweight(weightBytes(size), config.model.bytes_max);
  if (heavy !== null) yield warning('model_size', `${manifest.id}: ${heavy.message}`, heavy.fix);
  const bytes_per_second = await readBandwidth(identity.cores, availableBytes);
  const speed = { bytes_per_second, bytes_per_token: weightBytes(size) };
  if (fit.level === 'problem') {
    yield* speedFindings({ ...speed, tokens_per_second: null, throttled: [] });
    yield note('model', `${manifest.id} was not loaded: it does not fit`);
    return;
  }
  try {
    const { info, tokens_per_second } = await runEngine(config, engineEntry(), source);
    const { engine, model, load_ms } = info;
    yield ok(
      'model',
      `${model.id} (${model.quantization}) loads in ${Math.round(load_ms)} ms, ${engine.threads} threads`,
    );
    if (engine.backend_reason !== null)
      yield note('model', `slower than it could be, without the native backend: ${engine.backend_reason}`);
    yield* speedFindings({ ...speed, tokens_per_second, throttled: board.health().throttled });
  } catch (error) {
    if (!(error instanceof SlmdError)) throw error;
    yield problem(
      'model',
      `${error.code}: ${messageOf(error)}`,
      'try the model that ships: leave model.dir out',
    );
  }
}

async function readManifest(dir: string, kind: VariantKind): Promise<Omit<Manifest, 'files'> | null> {
  try {
    return manifestSchema.parse(JSON.parse(await readFile(join(dir, manifestFile), 'utf8')));
  } catch {
    // What others laid out needs no manifest; what cannot be run is said when it is loaded.
    return (await describeForeign(dir, { kind }).catch(() => null))?.manifest ?? null;
  }
}
