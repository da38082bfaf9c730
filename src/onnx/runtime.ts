/** The door to ONNX Runtime: which of its two backends runs the model, and why. */

import { messageOf, SlmdError } from '../lib/errors.ts';
import type { Decoder } from './decoder.ts';
import { type Library, NativeUnavailableError, openLibrary } from './ffi/index.ts';
import { openNativeDecoder } from './native-decoder.ts';
import { nodeRuntimeVersion, openNodeDecoder } from './node-decoder.ts';
import type { Compute } from './session-options.ts';
import { chooseThreads } from './threads.ts';

/** `native` calls the library itself; `node` goes through the package's own binding, which copies. */
export type BackendName = 'native' | 'node';

export interface DecoderOptions {
  /** Threads to compute with; 0 chooses. */
  threads: number;
  contextLength: number;
}

export interface OpenedDecoder {
  decoder: Decoder;
  compute: Compute;
}

/** ONNX Runtime in this process. */
export interface Runtime {
  readonly name: 'onnxruntime';
  readonly version: string;
  readonly backend: BackendName;
  /** Why it is not the native one, where that was wanted; else null. */
  readonly fallbackReason: string | null;
  /**
   * Opens a graph with the interface that `src/model/README.md` describes.
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
    async openDecoder(graphPath, { threads, contextLength }) {
      const compute = chooseCompute(threads);
      return { decoder: await openNativeDecoder(library, graphPath, contextLength, compute), compute };
    },
  };
}

function nodeRuntime(fallbackReason: string | null): Runtime {
  return {
    name: 'onnxruntime',
    version: nodeRuntimeVersion(),
    backend: 'node',
    fallbackReason,
    async openDecoder(graphPath, { threads, contextLength }) {
      const compute = chooseCompute(threads);
      return { decoder: await openNodeDecoder(graphPath, contextLength, compute), compute };
    },
  };
}

function chooseCompute(threads: number): Compute {
  // Spinning threads take the cores that the daemon and the kernel need: 2 to 2.5 times slower on a
  // board that does anything else, and no faster on an idle one.
  return { threads: threads === 0 ? chooseThreads() : threads, spinUs: 0 };
}
