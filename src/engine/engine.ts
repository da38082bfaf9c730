import { Grammars } from '../grammar/grammars.ts';
import { vocabularyOf } from '../grammar/vocabulary.ts';
import type { EngineInfo, EngineOptions, Pace, Trust, VariantKind } from '../ipc/messages.ts';
import { monotonicMs } from '../lib/clock.ts';
import { messageOf, SlmdError } from '../lib/errors.ts';
import { version } from '../lib/version.ts';
import { type ModelDirectory, type ModelErrorCode, readModelDirectory } from '../model/directory.ts';
import { dependsOnRuns, hasExperts, sharesScales } from '../model/graph-facts.ts';
import { quantizationName } from '../model/manifest.ts';
import { cpuKinds } from '../onnx/cpu.ts';
import type { Sequence } from '../onnx/decoder.ts';
import { readGraphFile } from '../onnx/graph-file.ts';
import { giveBackRead } from '../onnx/loaded-memory.ts';
import type { ModelShape } from '../onnx/probe.ts';
import { type OpenedRows, openRuntime, type Runtime } from '../onnx/runtime.ts';
import { chooseSpeculation, type SpeculationChoice } from './choose-speculation.ts';
import { type GenerateRequest, type Generation, type GenerationEvents, generate } from './generate.ts';
import { measurePace } from './pace.ts';
import { prefillGrain } from './prefill.ts';
import { PrefixStore } from './prefix-store.ts';
import { Rows } from './rows.ts';

/** A loaded model that answers requests, as many at a time as `info.engine.rows` says. */
export interface Engine {
  readonly info: EngineInfo;
  /** See `generate.ts`. */
  generate(request: GenerateRequest, events?: GenerationEvents, signal?: AbortSignal): Promise<Generation>;
  /** Gives back what generations have left in memory and the next can do without; while none runs. */
  rest(): void;
  /** Gives the model's memory back; after the last generations are over. */
  close(): Promise<void>;
}

/**
 * Loads a model directory into this process.
 *
 * @throws {SlmdError<ModelErrorCode | 'engine_failed' | 'out_of_memory'>} naming the file, or the setting that cannot be met
 */
export async function openEngine(
  modelDir: string,
  options: EngineOptions,
  trust: Trust | null = null,
  kind?: VariantKind,
): Promise<Engine> {
  const started = monotonicMs();
  const directory = await readModelDirectory(modelDir, trust, { kind });
  const contextLength = Math.min(directory.manifest.context_length, options.context_length_max);
  const runtime = openRuntime(options.backend);
  const opened = await open(runtime, directory, options, contextLength);
  const [first, ...others] = opened.rows;
  const graph = readGraphFile(directory.graphPath);
  let bench: Pace;
  let guesses: SpeculationChoice;
  try {
    await checkFirstRun(first!, directory);
    bench = await measurePace(first!);
    guesses = await chooseSpeculation(first!, {
      backend: runtime.backend,
      wanted: options.speculation,
      experts: hasExperts(graph),
      sharesScales: sharesScales(graph),
    });
  } catch (thrown) {
    await opened.dispose();
    throw thrown instanceof SlmdError ? thrown : unusable(directory, thrown);
  }
  const store = await openStore(opened, runtime, options, directory);
  const wholeRuns = dependsOnRuns(graph, directory.foreign);
  const rows = new Rows([first!, ...others], store, wholeRuns);
  const grammars = new Grammars({
    vocabulary: () =>
      vocabularyOf(rows.vocabularySize, (id) => directory.tokenizer.bytesOf(id), directory.stopIds),
  });
  const model = {
    ...directory,
    rows,
    grammars,
    prefillChunkTokens: wholeRuns ? prefillGrain : options.prefill_chunk_tokens,
    maxTokensDefault: options.max_tokens_default,
    speculation: guesses.speculation,
  };
  return {
    info: describe(
      directory,
      contextLength,
      { ...describeRuntime(runtime, opened, directory.manifest), ...describeSpeculation(guesses) },
      bench,
      monotonicMs() - started,
    ),
    generate: (request, events = {}, signal = new AbortController().signal) =>
      generate(model, request, events, signal),
    rest: () => giveBackRead(directory.graphPath),
    close: async () => {
      await grammars.close();
      await store?.close();
      await opened.dispose();
    },
  };
}

async function open(
  runtime: Runtime,
  directory: ModelDirectory,
  { threads, rows, prefill_chunk_tokens: runTokens }: EngineOptions,
  contextLength: number,
): Promise<OpenedRows> {
  try {
    return await runtime.openRows(directory.graphPath, {
      threads,
      rows,
      contextLength,
      runTokens,
      shape: shapeOf(directory.manifest),
      ...(directory.foreign && { foreign: directory.foreign }),
    });
  } catch (thrown) {
    // What is said of a graph's interface names no file.
    const coded = thrown instanceof SlmdError && thrown.code !== 'model_unsupported';
    throw coded ? thrown : unusable(directory, thrown);
  }
}

/** Where prefixes are kept, and the backend gives them. */
async function openStore(
  { rows: [first], compute, attention }: OpenedRows,
  { version: library, backend }: Runtime,
  { prefixes }: EngineOptions,
  { sha256 }: ModelDirectory,
): Promise<PrefixStore | null> {
  const snapshots = first?.snapshots;
  if (prefixes === null || first === undefined || snapshots === undefined) return null;
  const { accuracyLevel } = compute;
  const store = new PrefixStore({
    ...prefixes,
    facts: [sha256, version(), library, backend, accuracyLevel, attention, cpuKinds()],
    token_bytes: snapshots.tokenBytes,
    context_length: first.contextLength,
    say: (line) => console.error(`slmd engine: ${line}`),
  });
  await store.open();
  return store;
}

function shapeOf({ geometry, parameters, quantization }: ModelDirectory['manifest']): ModelShape {
  const { hidden_size, layers } = geometry;
  return { hiddenSize: hidden_size, layers, parameters, blockSize: quantization.block_size ?? 32 };
}

/** A graph can load and still compute nonsense: the first answer is looked at before anybody asks. */
async function checkFirstRun(sequence: Sequence, directory: ModelDirectory): Promise<void> {
  const { vocabulary_size } = directory.manifest.geometry;
  if (sequence.vocabularySize !== vocabulary_size) {
    throw unusable(
      directory,
      new Error(`it has ${sequence.vocabularySize} logits and the manifest says ${vocabulary_size}`),
    );
  }
  const logits = await sequence.forward([0]);
  if (!logits.every(Number.isFinite)) throw unusable(directory, new Error('its logits are not finite'));
  sequence.reset();
}

function describeRuntime(
  { name, version, backend, fallbackReason }: Runtime,
  { compute, chosenBy, rows, rowsChosenBy, rowsGain }: OpenedRows,
  { quantization }: ModelDirectory['manifest'],
): Omit<EngineInfo['engine'], keyof ReturnType<typeof describeSpeculation>> {
  return {
    name,
    version,
    backend,
    backend_reason: fallbackReason,
    threads: compute.threads,
    spin_us: compute.spinUs,
    chosen_by: chosenBy,
    accuracy_level: compute.accuracyLevel ?? quantization.accuracy_level,
    accuracy_level_chosen_by: compute.accuracyLevel === null ? 'graph' : 'probe',
    rows: rows.length,
    rows_chosen_by: rowsChosenBy,
    rows_gain: rowsGain,
  };
}

function describeSpeculation({ speculation, chosenBy, costs }: SpeculationChoice) {
  return { speculation: speculation !== null, speculation_chosen_by: chosenBy, draft_costs: costs };
}

function describe(
  { manifest, sha256 }: ModelDirectory,
  contextLength: number,
  engine: EngineInfo['engine'],
  bench: Pace,
  loadMs: number,
): EngineInfo {
  return {
    engine,
    model: {
      id: manifest.id,
      sha256,
      layout: manifest.layout ?? 'slmd',
      quantization: quantizationName(manifest.quantization),
      context_length: contextLength,
      parameters: manifest.parameters,
      verification: manifest.verification ?? null,
    },
    bench,
    load_ms: loadMs,
  };
}

/** What ONNX Runtime says of an operator, or of a type of one, that its CPU kernels do not have. */
const noKernel = /Could not find an implementation|is not a registered function\/op/;

/** Whatever goes wrong while a model is loaded, first runs included, is a reason not to serve it. */
function unusable({ graphPath }: ModelDirectory, thrown: unknown): SlmdError<ModelErrorCode> {
  const reason = messageOf(thrown);
  if (noKernel.test(reason))
    return new SlmdError(
      'model_unsupported',
      `slmd cannot run ${graphPath}: it has an operator, or one of a type, that no CPU computes here: ${reason}`,
    );
  return new SlmdError('model_invalid', `${graphPath} cannot be used: ${reason}`);
}
