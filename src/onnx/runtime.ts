/** The door to ONNX Runtime: which of its two backends runs the model, and why. */

import { messageOf, SlmdError } from '../lib/errors.ts';
import { freeMemoryBytes } from '../lib/memory.ts';
import { type AttentionPath, takeAttentionPath } from './attention-path.ts';
import { rowBytes } from './cache-layout.ts';
import { type Choice, chooseCompute, chooseThreading, computeByRule } from './choose-compute.ts';
import { chooseRows, type RowChoice, type RowsChosenBy, rowsThatFit } from './choose-rows.ts';
import { type Decoder, firstRow } from './decoder.ts';
import { type Library, NativeUnavailableError, openLibrary } from './ffi/index.ts';
import { ForeignDecoder } from './foreign-decoder.ts';
import type { ForeignInterface } from './foreign-interface.ts';
import { openForeignNative } from './foreign-native.ts';
import { openForeignNode } from './foreign-node.ts';
import { readInterface } from './graph-interface.ts';
import { openNativeRows } from './native-decoder.ts';
import { nodeRuntimeVersion, openNodeDecoder } from './node-decoder.ts';
import type { ModelShape } from './probe.ts';

/** `native` calls the library itself; `node` goes through the package's own binding, which copies. */
export type BackendName = 'native' | 'node';

export interface DecoderOptions {
  /** Threads to compute with; 0 chooses, by a measurement where the backend is native. */
  threads: number;
  contextLength: number;
  /** The most tokens of one run; 128 where nothing is said. */
  runTokens?: number;
  /** What to measure with, where something is left to choose; without it nothing is measured. */
  shape?: ModelShape;
  /** Of a graph that others exported; without it the graph has the interface of `src/model/README.md`. */
  foreign?: ForeignInterface;
}

export interface RowsOptions extends DecoderOptions {
  /** How many sequences at a time; `auto` as many as fit into the memory, where that is faster. */
  rows: 'auto' | number;
}

interface Way extends Choice {
  attention: AttentionPath;
}

export type OpenedDecoder = Way & { decoder: Decoder };
export type OpenedRows = Way & RowChoice & { dispose(): Promise<void> };

/** ONNX Runtime in this process. */
export interface Runtime {
  readonly name: 'onnxruntime';
  readonly version: string;
  readonly backend: BackendName;
  /** Why it is not the native one, where that was wanted; else null. */
  readonly fallbackReason: string | null;
  /**
   * Opens a graph with the interface that `src/model/README.md` describes, or with one that was found in it.
   *
   * @throws whatever ONNX Runtime says of a graph it cannot run, or what the interface lacks
   */
  openDecoder(graphPath: string, options: DecoderOptions): Promise<OpenedDecoder>;
  /** The same for several sequences that are decoded together; one, where the backend can do no more. */
  openRows(graphPath: string, options: RowsOptions): Promise<OpenedRows>;
}

/**
 * Opens the native backend, or the other where that cannot be: the same tokens, slower.
 *
 * @param libraryPath another library than the one inside `onnxruntime-node`
 * @throws {SlmdError<'engine_failed'>} where `native` was asked for by name and cannot be
 */
export function openRuntime(wanted: 'auto' | BackendName, libraryPath?: string): Runtime {
  // The library reads this when it is loaded, makes a device id under ~/.cache without it, and may
  // report to its maker.
  process.env.ORT_DISABLE_TELEMETRY = '1';
  if (wanted === 'node') return nodeRuntime(null);
  try {
    return nativeRuntime(openLibrary(libraryPath === undefined ? {} : { path: libraryPath }));
  } catch (thrown) {
    if (!(thrown instanceof NativeUnavailableError)) throw thrown;
    if (wanted === 'auto') return nodeRuntime(messageOf(thrown));
    throw new SlmdError('engine_failed', `engine.backend is native, and cannot be: ${messageOf(thrown)}`);
  }
}

function nativeRuntime(library: Library): Runtime {
  const openOwn = async (
    graphPath: string,
    options: DecoderOptions,
    rowsFor: (bytesOfRow: number) => number,
  ) => {
    const { threads, contextLength, shape } = options;
    const choice =
      shape === undefined ? computeByRule(threads) : await chooseCompute(library, graphPath, shape, threads);
    const attention = takeAttentionPath(graphPath, options);
    const opened = await openNativeRows(library, graphPath, contextLength, choice.compute, (session) =>
      rowsFor(rowBytes(readInterface(session.inputs, session.outputs).cache, contextLength)),
    );
    return { choice: { ...choice, attention }, opened };
  };
  const openDecoder = async (graphPath: string, options: DecoderOptions): Promise<OpenedDecoder> => {
    const { threads, contextLength, shape, foreign } = options;
    if (foreign === undefined) {
      const { choice, opened } = await openOwn(graphPath, options, () => 1);
      return { ...choice, decoder: firstRow(opened) };
    }
    const choice =
      shape === undefined ? computeByRule(threads) : await chooseThreading(library, shape, threads);
    const attention = takeAttentionPath(graphPath, options);
    const session = await openForeignNative(library, graphPath, foreign, contextLength, choice.compute);
    return { ...choice, attention, decoder: new ForeignDecoder(foreign, session, contextLength) };
  };
  return {
    name: 'onnxruntime',
    version: library.version,
    backend: 'native',
    fallbackReason: null,
    openDecoder,
    async openRows(graphPath, options) {
      if (options.foreign !== undefined) return oneRow(await openDecoder(graphPath, options), 'graph');
      const { rows } = options;
      const { choice, opened } = await openOwn(graphPath, options, (bytesOfRow) =>
        rows === 'auto' ? rowsThatFit(bytesOfRow, freeMemoryBytes()) : rows,
      );
      try {
        return { ...choice, ...(await chooseRows(opened, rows)), dispose: () => opened.dispose() };
      } catch (thrown) {
        await opened.dispose();
        throw thrown;
      }
    },
  };
}

function nodeRuntime(fallbackReason: string | null): Runtime {
  const openDecoder = async (graphPath: string, options: DecoderOptions): Promise<OpenedDecoder> => {
    const { threads, contextLength, foreign } = options;
    const choice = computeByRule(threads);
    const attention = takeAttentionPath(graphPath, options);
    if (foreign !== undefined) {
      const session = await openForeignNode(graphPath, foreign, choice.compute);
      return { ...choice, attention, decoder: new ForeignDecoder(foreign, session, contextLength) };
    }
    return { ...choice, attention, decoder: await openNodeDecoder(graphPath, contextLength, choice.compute) };
  };
  return {
    name: 'onnxruntime',
    version: nodeRuntimeVersion(),
    backend: 'node',
    fallbackReason,
    openDecoder,
    openRows: async (graphPath, options) => oneRow(await openDecoder(graphPath, options), 'backend'),
  };
}

function oneRow({ decoder, ...choice }: OpenedDecoder, rowsChosenBy: RowsChosenBy): OpenedRows {
  return { ...choice, rows: [decoder], rowsChosenBy, rowsGain: null, dispose: () => decoder.dispose() };
}
