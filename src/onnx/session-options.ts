import type { InferenceSession } from 'onnxruntime-common';

/** How a graph is computed on this board. */
export interface Compute {
  /** Threads that share the work of an operator. */
  threads: number;
  /** How long a thread without work looks for more before it sleeps; 0 sleeps at once. */
  spinUs: number;
  /** Of MatMulNBits, in place of the graph's own 4; null leaves the graph as it is. */
  accuracyLevel: number | null;
}

/** The options of a session, for either backend. */
export function sessionOptions({
  threads,
  spinUs,
}: Omit<Compute, 'accuracyLevel'>): InferenceSession.SessionOptions {
  const spinning =
    spinUs === 0 ? { allow_spinning: '0' } : { allow_spinning: '1', spin_duration_us: String(spinUs) };
  return {
    executionProviders: ['cpu'],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    graphOptimizationLevel: 'all',
    // Errors reach us as exceptions; standard error is for the engine's own words.
    logSeverityLevel: severityFatal,
    // The lengths change with every token: patterns for each would be kept and never used again.
    enableMemPattern: false,
    extra: { session: { intra_op: spinning } },
  };
}

export const severityFatal = 4;
