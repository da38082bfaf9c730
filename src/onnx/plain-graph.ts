/** Any graph, run with what it is given: for tools that compute with one, not for serving. */

import { computeByRule } from './choose-compute.ts';
import { loadRuntime, release } from './grown-node.ts';
import { sessionOptions, severityFatal } from './session-options.ts';

/** What a run takes: values by the names of the graph's inputs. */
export type Feeds = Record<string, { values: Float32Array | Int32Array | BigInt64Array; dims: number[] }>;

export interface PlainGraph {
  readonly inputs: readonly string[];
  /**
   * Holds the thread until the run is over. `use` is given the float32 outputs that are named, in that order,
   * whose memory is given back after it.
   */
  run<T>(feeds: Feeds, outputs: readonly string[], use: (...outputs: Float32Array[]) => T): Promise<T>;
  dispose(): Promise<void>;
}

/** @throws whatever ONNX Runtime says of a graph that it cannot run */
export async function openPlainGraph(graphPath: string): Promise<PlainGraph> {
  // As in `openRuntime`: the library reads this when it is loaded, and may report to its maker without it.
  process.env.ORT_DISABLE_TELEMETRY = '1';
  const { InferenceSession, Tensor } = loadRuntime();
  const session = await InferenceSession.create(graphPath, sessionOptions(computeByRule(0).compute));
  return {
    inputs: session.inputNames,
    async run(feeds, outputs, use) {
      const tensors = Object.entries(feeds).map(([name, { values, dims }]) => [
        name,
        new Tensor(typeOf(values), values, dims),
      ]);
      const given = await session.run(Object.fromEntries(tensors), outputs, {
        logSeverityLevel: severityFatal,
      });
      const used = outputs.map((name) => given[name]!);
      const result = use(...used.map(({ data }) => data as Float32Array));
      for (const tensor of used) release(tensor);
      return result;
    },
    dispose: () => session.release(),
  };
}

function typeOf(values: Feeds[string]['values']): 'float32' | 'int32' | 'int64' {
  if (values instanceof Float32Array) return 'float32';
  return values instanceof Int32Array ? 'int32' : 'int64';
}
