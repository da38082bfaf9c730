/** The decoder over ONNX Runtime's C API: past and present are the same memory, and nothing is copied. */

import { readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { replaceAccuracyLevel } from './accuracy-level.ts';
import type { DecoderRows } from './decoder.ts';
import { type Library, NativeSession } from './ffi/index.ts';
import { settleLoaded } from './loaded-memory.ts';
import { NativeRows } from './native-rows.ts';
import { type Compute, sessionOptions } from './session-options.ts';

/** @throws whatever ONNX Runtime says of a graph it cannot run, or what the interface lacks */
export async function openNativeRows(
  library: Library,
  graphPath: string,
  contextLength: number,
  compute: Compute,
  rowsFor: (session: NativeSession) => number,
): Promise<DecoderRows> {
  const session = await openSession(library, graphPath, compute);
  try {
    settleLoaded(library, graphPath);
    return new NativeRows(session, contextLength, rowsFor(session));
  } catch (thrown) {
    await session.release();
    throw thrown;
  }
}

/** The graph as it is, or with another accuracy level: then it is loaded from memory, its weights as before. */
function openSession(library: Library, graphPath: string, compute: Compute): Promise<NativeSession> {
  const options = sessionOptions(compute);
  const { accuracyLevel } = compute;
  if (accuracyLevel === null || accuracyLevel === 4) return NativeSession.create(library, graphPath, options);
  const graph = replaceAccuracyLevel(readFileSync(graphPath), 4, accuracyLevel);
  const weights = { 'session.model_external_initializers_file_folder_path': dirname(graphPath) };
  return NativeSession.create(library, graph, { ...options, extra: { ...options.extra, ...weights } });
}
