import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ExternalDataWriter } from '../onnx/external-data.ts';
import { GraphBuilder } from '../onnx/graph.ts';
import { type Feeds, openPlainGraph, type PlainGraph } from '../onnx/plain-graph.ts';
import type { Architecture } from './architecture.ts';
import { CacheRanges, type CacheScales } from './cache-ranges.ts';
import type { Reader, Sought } from './calibrate.ts';
import type { Checkpoint } from './checkpoint.ts';
import { type InputMoments, momentColumns, momentGroups, outputMoments } from './input-moments.ts';
import type { Blocks } from './linear.ts';
import { StreamedWeights } from './weights.ts';

/** Adds a piece of a decoder to a graph. @returns the name of the states that it gives */
export type PieceWriter = (blocks: Blocks, states: string) => Promise<string>;

/** A value that matrices multiply. */
interface Input {
  matrices: string[];
  /** The graph's output that has the moments of one text. */
  output: string;
  /** Of all texts that were read. */
  moments: InputMoments;
}

/** Writes a piece of the decoder in float32 as a graph of its own, and opens it for `use`. */
export async function withPiece(
  reader: Reader,
  checkpoint: Checkpoint,
  sought: Sought,
  write: PieceWriter,
  use: (piece: Piece) => Promise<void>,
): Promise<void> {
  const { architecture, workDir } = reader;
  await mkdir(workDir);
  try {
    const written = await writePiece(reader, checkpoint, sought, write);
    const graph = await openPlainGraph(join(workDir, 'model.onnx'));
    try {
      await use(new Piece(graph, written, architecture));
    } finally {
      await graph.dispose();
    }
  } finally {
    await rm(workDir, { recursive: true });
  }
}

interface Written {
  /** The states that it gives. */
  next: string;
  inputs: Input[];
  /** The layer's keys and values, where they are sought. */
  cached: { present: readonly string[]; ranges: CacheRanges } | null;
}

async function writePiece(
  { architecture, options, workDir }: Reader,
  checkpoint: Checkpoint,
  sought: Sought,
  write: PieceWriter,
): Promise<Written> {
  const graph = new GraphBuilder('piece');
  const data = await ExternalDataWriter.create(join(workDir, 'model.onnx.data'));
  try {
    const byName = new Map<string, { columns: number; matrices: string[] }>();
    let cached: Written['cached'] = null;
    const width = ['batch', 'sequence', architecture.hiddenSize];
    graph.input('input_ids', 'int64', ['batch', 'sequence']);
    graph.input('seqlens_k', 'int32', ['batch']);
    graph.input('total_sequence_length', 'int32', [1]);
    const blocks: Blocks = {
      graph,
      weights: new StreamedWeights(checkpoint, data),
      architecture,
      options: {
        ...options,
        layerFormats: options.layerFormats.map(() => 'float32'),
        logits: 'all',
        cacheScales: null,
      },
      onLinear(matrix, input, columns) {
        if (!sought.moments) return;
        // Some share theirs: gate and up, for one.
        const { matrices } = byName.get(input) ?? { matrices: [] };
        byName.set(input, { columns, matrices: [...matrices, matrix] });
      },
      onCached(layer, present) {
        if (sought.cacheScales) cached = { present, ranges: rangesOf(architecture, layer) };
      },
    };
    const next = await write(blocks, graph.input('states', 'float32', width));
    graph.output(next, 'float32', width);
    const inputs = [...byName].map(([input, { columns, matrices }]) => ({
      matrices,
      output: outputMoments(graph, input, columns),
      moments: new Float32Array(momentGroups(columns) * momentColumns ** 2),
    }));
    await writeFile(join(workDir, 'model.onnx'), graph.encode());
    return { next, inputs, cached };
  } finally {
    await data.close();
  }
}

function rangesOf({ attention, layers, ropes }: Architecture, layer: number): CacheRanges {
  const { kvHeads, headSize } = attention;
  return new CacheRanges(kvHeads, headSize, ropes[layers[layer]!.rope]!.dimensions);
}

/** A piece that can be run: texts go in one after another, and what their states have in common adds up. */
export class Piece {
  readonly #graph: PlainGraph;
  readonly #written: Written;
  readonly #architecture: Architecture;

  constructor(graph: PlainGraph, written: Written, architecture: Architecture) {
    this.#graph = graph;
    this.#written = written;
    this.#architecture = architecture;
  }

  /** @param states [tokens, hidden] of a text @returns those that the piece makes of them */
  read(states: Float32Array): Promise<Float32Array> {
    const { next, inputs, cached } = this.#written;
    const present = cached?.present ?? [];
    return this.#graph.run(
      this.#feeds(states),
      [next, ...present, ...inputs.map(({ output }) => output)],
      (given, ...rest) => {
        const moments = rest.slice(present.length);
        cached?.ranges.add(rest[0]!, rest[1]!);
        for (const [i, { moments: sums }] of inputs.entries()) {
          for (const [at, value] of moments[i]!.entries()) sums[at]! += value;
        }
        return given.slice();
      },
    );
  }

  /** Of all texts that were read, by the names of matrices. */
  get moments(): [string, InputMoments][] {
    return this.#written.inputs.flatMap(({ matrices, moments }) =>
      matrices.map((matrix): [string, InputMoments] => [matrix, moments]),
    );
  }

  /** Of a layer, where they were sought, by all texts that were read. */
  get cacheScales(): CacheScales | null {
    return this.#written.cached?.ranges.scales ?? null;
  }

  #feeds(states: Float32Array): Feeds {
    const { hiddenSize, attention } = this.#architecture;
    const tokens = states.length / hiddenSize;
    const feeds: Feeds = {
      // Only their number counts.
      input_ids: { values: new BigInt64Array(tokens), dims: [1, tokens] },
      seqlens_k: { values: Int32Array.of(tokens - 1), dims: [1] },
      total_sequence_length: { values: Int32Array.of(tokens), dims: [1] },
      states: { values: states, dims: [1, tokens, hiddenSize] },
    };
    for (const name of this.#graph.inputs) {
      if (feeds[name] !== undefined) continue;
      const dims = [1, attention.kvHeads, 0, attention.headSize];
      feeds[name] = { values: new Float32Array(0), dims };
    }
    return feeds;
  }
}
