/** A short measurement of how this board computes fastest, on a stand-in for the model's layers. */

import { type Library, NativeSession, NativeValue, type Plan } from './ffi/index.ts';
import { GraphBuilder, microsoft } from './graph.ts';
import { type Compute, sessionOptions } from './session-options.ts';

/** What of a model decides how its work is best shared. */
export interface ModelShape {
  hiddenSize: number;
  layers: number;
  parameters: number;
  blockSize: number;
}

export interface Measured {
  compute: Compute;
  ms: number;
}

/** Enough to be more than overhead; a megabyte and a half, so that a load costs no memory to speak of. */
const parametersMax = 2_000_000;
/** What people who wait for the model to load do not notice; a slow board may need as much again. */
const measureMs = 100;
/** The first warms up, and two numbers have no middle. */
const roundsMin = 4;
/** A sample is some decoding and some prefill, as an answer is. */
const decodeRuns = 4;
const prefillTokens = 16;
/** Two measurements of the same differ by so much on a board that does other things. */
const noise = 0.1;
/** Long enough to bridge the gap between two operators, too short to take a core from anybody. */
const shortSpinUs = 20;

/** What is worth a try with so many threads at most: fewer come first, and of the same number, no spinning. */
export function candidates(threadsMax: number): Compute[] {
  const counts = [...new Set([1, Math.min(2, threadsMax), threadsMax])];
  return counts.flatMap((threads) =>
    (threads === 1 ? [0] : [0, shortSpinUs]).map((spinUs) => ({ threads, spinUs, accuracyLevel: null })),
  );
}

/** Measures each in turn, over and over, so that what else the board does meets all of them alike. */
export async function measure(
  library: Library,
  shape: ModelShape,
  computes: readonly Compute[],
): Promise<Measured[]> {
  const probes: Probe[] = [];
  try {
    for (const compute of computes) probes.push(await Probe.open(library, shape, compute));
    const started = performance.now();
    for (let round = 0; round < roundsMin || performance.now() - started < measureMs; round++)
      for (const probe of probes) await probe.sample();
    return probes.map(({ compute, samples }) => ({ compute, ms: median(samples.slice(1)) }));
  } finally {
    for (const probe of probes) await probe.close();
  }
}

/** The first that no other beats by more than noise. */
export function fastest(measured: readonly Measured[]): Measured {
  const best = Math.min(...measured.map(({ ms }) => ms));
  const found = measured.find(({ ms }) => ms <= best * (1 + noise));
  if (found === undefined) throw new Error('nothing was measured');
  return found;
}

class Probe {
  readonly compute: Compute;
  readonly samples: number[] = [];
  readonly #session: NativeSession;
  readonly #decode: Plan;
  readonly #prefill: Plan;
  readonly #values: readonly NativeValue[];

  static async open(library: Library, shape: ModelShape, compute: Compute): Promise<Probe> {
    const graph = standIn(shape, compute.accuracyLevel ?? 4);
    return new Probe(await NativeSession.create(library, graph, sessionOptions(compute)), shape, compute);
  }

  constructor(session: NativeSession, { hiddenSize }: ModelShape, compute: Compute) {
    this.compute = compute;
    this.#session = session;
    const values: NativeValue[] = [];
    const bound = (tokens: number) => {
      const plan = session.plan(['in'], ['out']);
      const make = () =>
        new NativeValue(session.library, 'float32', new Float32Array(tokens * hiddenSize).fill(1), [
          tokens,
          hiddenSize,
        ]);
      const [input, output] = [make(), make()];
      plan.bindInput('in', input);
      plan.bindOutput('out', output);
      values.push(input, output);
      return plan;
    };
    this.#decode = bound(1);
    this.#prefill = bound(prefillTokens);
    this.#values = values;
  }

  async sample(): Promise<void> {
    const started = performance.now();
    for (let run = 0; run < decodeRuns; run++) await this.#decode.run();
    await this.#prefill.run();
    this.samples.push(performance.now() - started);
  }

  async close(): Promise<void> {
    await this.#session.release();
    for (const value of this.#values) value.release();
  }
}

/** As many matrices as the model has layers, and each as large, within the bound; all weights are zero. */
function standIn(
  { hiddenSize, layers, parameters, blockSize }: ModelShape,
  accuracyLevel: number,
): Uint8Array {
  const perLayer = Math.min(parameters / layers, parametersMax);
  const inner = Math.max(32, Math.round(perLayer / hiddenSize / 2));
  const count = Math.max(1, Math.min(layers, Math.floor(parametersMax / perLayer)));
  const graph = new GraphBuilder('probe');
  const matrix = (input: string, rows: number, columns: number, name: string) => {
    const blocks = Math.ceil(columns / blockSize);
    const weights = new Uint8Array((rows * blocks * blockSize) / 2).fill(0x88);
    const inputs = [
      input,
      graph.constant(`${name}.blocks`, 'uint8', [rows, blocks, blockSize / 2], weights),
      graph.constant(`${name}.scales`, 'float32', [rows, blocks], new Float32Array(rows * blocks).fill(1)),
    ];
    const attributes = { K: columns, N: rows, bits: 4, block_size: blockSize, accuracy_level: accuracyLevel };
    return graph.node('MatMulNBits', inputs, name, { domain: microsoft, attributes });
  };
  let at = graph.input('in', 'float32', ['tokens', hiddenSize]);
  for (let layer = 0; layer < count; layer++)
    at = matrix(matrix(at, inner, hiddenSize, `up.${layer}`), hiddenSize, inner, `down.${layer}`);
  graph.output(graph.node('Identity', [at], 'out'), 'float32', ['tokens', hiddenSize]);
  return graph.encode();
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.POSITIVE_INFINITY;
}
