/** Decoders over ONNX Runtime's C API: where past and present may be the same memory, nothing is copied. */

import { readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { replaceAccuracyLevel } from './accuracy-level.ts';
import type { DecoderRows } from './decoder.ts';
import { type Library, NativeSession } from './ffi/index.ts';
import type { GraphInterface } from './graph-interface.ts';
import { GrownDecoder } from './grown-decoder.ts';
import { NativeGrownCache } from './grown-native.ts';
import { settleLoaded } from './loaded-memory.ts';
import { NativeRows } from './native-rows.ts';
import { type Compute, sessionOptions } from './session-options.ts';

export interface NativeOptions {
  graph: GraphInterface;
  contextLength: number;
  compute: Compute;
  /** How many rows, where the graph can have several at all; asked when it is loaded. */
  rowsFor(): number;
}

/** @throws whatever ONNX Runtime says of a graph it cannot run */
export async function openNativeRows(
  library: Library,
  graphPath: string,
  { graph, contextLength, compute, rowsFor }: NativeOptions,
): Promise<DecoderRows> {
  const session = await openSession(library, graphPath, compute);
  try {
    settleLoaded(library, graphPath);
    if (!graph.shared) return await grown(session, graph, contextLength);
    const rows = new NativeRows(session, graph, contextLength, rowsFor());
    await rows.learn();
    return rows;
  } catch (thrown) {
    await session.release();
    throw thrown;
  }
}

/** Rows of different lengths have no place in tensors that are as long as their tokens: there is one. */
async function grown(
  session: NativeSession,
  graph: GraphInterface,
  contextLength: number,
): Promise<DecoderRows> {
  const decoder = new GrownDecoder(graph, new NativeGrownCache(session, graph), contextLength);
  await decoder.learn();
  return { rows: [decoder], limit: 'graph', dispose: () => decoder.dispose() };
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
