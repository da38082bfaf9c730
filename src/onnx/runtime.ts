/** The door to ONNX Runtime: which of its two backends runs the model, and why. */

import { messageOf, SlmdError } from '../lib/errors.ts';
import { freeMemoryBytes } from '../lib/memory.ts';
import { type AttentionPath, takeAttentionPath } from './attention-path.ts';
import { rowBytes } from './cache-layout.ts';
import { type Choice, chooseCompute, chooseThreading, computeByRule } from './choose-compute.ts';
import { chooseRows, type RowChoice, rowsThatFit } from './choose-rows.ts';
import { type Decoder, type DecoderRows, firstRow } from './decoder.ts';
import { type Library, NativeUnavailableError, openLibrary } from './ffi/index.ts';
import { readGraphFile } from './graph-file.ts';
import { type GraphInterface, readGraphInterface } from './graph-interface.ts';
import { nodeRuntimeVersion, openNodeDecoder } from './grown-node.ts';
import { openNativeRows } from './native-decoder.ts';
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
  /** Of a graph that others exported, which is computed as it is; without it the graph is one that slmd built. */
  foreign?: GraphInterface;
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
  const open = async (
    graphPath: string,
    options: DecoderOptions,
    rowsFor: (bytesOfRow: number) => number,
  ): Promise<{ way: Way; opened: DecoderRows }> => {
    const { threads, contextLength, shape, foreign } = options;
    const choice =
      shape === undefined
        ? computeByRule(threads)
        : foreign === undefined
          ? await chooseCompute(library, graphPath, shape, threads)
          : await chooseThreading(library, shape, threads);
    const file = readGraphFile(graphPath);
    const attention = takeAttentionPath(file, options);
    const graph = foreign ?? readGraphInterface(file);
    const opened = await openNativeRows(library, graphPath, {
      graph,
      contextLength,
      compute: choice.compute,
      rowsFor: () => rowsFor(rowBytes(graph.cache, contextLength)),
    });
    return { way: { ...choice, attention }, opened };
  };
  return {
    name: 'onnxruntime',
    version: library.version,
    backend: 'native',
    fallbackReason: null,
    async openDecoder(graphPath, options) {
      const { way, opened } = await open(graphPath, options, () => 1);
      return { ...way, decoder: firstRow(opened) };
    },
    async openRows(graphPath, options) {
      const { rows } = options;
      const { way, opened } = await open(graphPath, options, (bytesOfRow) =>
        rows === 'auto' ? rowsThatFit(bytesOfRow, freeMemoryBytes()) : rows,
      );
      try {
        return { ...way, ...(await chooseRows(opened, rows)), dispose: () => opened.dispose() };
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
    const file = readGraphFile(graphPath);
    const attention = takeAttentionPath(file, options);
    const graph = foreign ?? readGraphInterface(file);
    const decoder = await openNodeDecoder(graphPath, graph, contextLength, choice.compute);
    return { ...choice, attention, decoder };
  };
  return {
    name: 'onnxruntime',
    version: nodeRuntimeVersion(),
    backend: 'node',
    fallbackReason,
    openDecoder,
    async openRows(graphPath, options) {
      const { decoder, ...way } = await openDecoder(graphPath, options);
      const dispose = () => decoder.dispose();
      return { ...way, rows: [decoder], rowsChosenBy: 'backend', rowsGain: null, dispose };
    },
  };
}
