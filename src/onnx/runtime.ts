/** The door to ONNX Runtime: which of its two backends runs the model, and why. */

import { messageOf, SlmdError } from '../lib/errors.ts';
import { type Choice, chooseCompute, chooseThreading, computeByRule } from './choose-compute.ts';
import type { Decoder } from './decoder.ts';
import { type Library, NativeUnavailableError, openLibrary } from './ffi/index.ts';
import { ForeignDecoder } from './foreign-decoder.ts';
import type { ForeignInterface } from './foreign-interface.ts';
import { openForeignNative } from './foreign-native.ts';
import { openForeignNode } from './foreign-node.ts';
import { openNativeDecoder } from './native-decoder.ts';
import { nodeRuntimeVersion, openNodeDecoder } from './node-decoder.ts';
import type { ModelShape } from './probe.ts';

/** `native` calls the library itself; `node` goes through the package's own binding, which copies. */
export type BackendName = 'native' | 'node';

export interface DecoderOptions {
  /** Threads to compute with; 0 chooses, by a measurement where the backend is native. */
  threads: number;
  contextLength: number;
  /** What to measure with, where something is left to choose; without it nothing is measured. */
  shape?: ModelShape;
  /** Of a graph that others exported; without it the graph has the interface of `src/model/README.md`. */
  foreign?: ForeignInterface;
}

export type OpenedDecoder = Choice & { decoder: Decoder };

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
  return {
    name: 'onnxruntime',
    version: library.version,
    backend: 'native',
    fallbackReason: null,
    async openDecoder(graphPath, { threads, contextLength, shape, foreign }) {
      if (foreign !== undefined) {
        const choice =
          shape === undefined ? computeByRule(threads) : await chooseThreading(library, shape, threads);
        const session = await openForeignNative(library, graphPath, foreign, contextLength, choice.compute);
        return { ...choice, decoder: new ForeignDecoder(foreign, session, contextLength) };
      }
      const choice =
        shape === undefined
          ? computeByRule(threads)
          : await chooseCompute(library, graphPath, shape, threads);
      return {
        ...choice,
        decoder: await openNativeDecoder(library, graphPath, contextLength, choice.compute),
      };
    },
  };
}

function nodeRuntime(fallbackReason: string | null): Runtime {
  return {
    name: 'onnxruntime',
    version: nodeRuntimeVersion(),
    backend: 'node',
    fallbackReason,
    async openDecoder(graphPath, { threads, contextLength, foreign }) {
      const choice = computeByRule(threads);
      if (foreign !== undefined) {
        const session = await openForeignNode(graphPath, foreign, choice.compute);
        return { ...choice, decoder: new ForeignDecoder(foreign, session, contextLength) };
      }
      return { ...choice, decoder: await openNodeDecoder(graphPath, contextLength, choice.compute) };
    },
  };
}
