import type { Architecture } from './architecture.ts';
import type { CacheScales } from './cache-ranges.ts';
import { encodeTexts } from './calibration-texts.ts';
import { Checkpoint } from './checkpoint.ts';
import { type DecoderOptions, decoderLayer } from './decoder.ts';
import type { InputMoments } from './input-moments.ts';
import { norm } from './norm.ts';
import { type PieceWriter, withPiece } from './piece.ts';
import { rotations } from './rotation.ts';

/** A checkpoint that is to read. */
export interface Reader {
  checkpointDir: string;
  architecture: Architecture;
  options: DecoderOptions;
  /** Where a piece of the decoder lies while it reads; made, and removed. */
  workDir: string;
}

/** Texts, and what a checkpoint makes of them: found for its first build, and kept for its further ones. */
export class Calibration {
  readonly #texts: readonly string[];
  readonly #onProgress: OnRead;
  /** By what was sought. */
  readonly #found = new Map<string, Promise<Found>>();

  /** @param texts each is read as a user's turn; at most `calibrationTokensMax` tokens of them count */
  constructor(texts: readonly string[], onProgress: OnRead = () => {}) {
    this.#texts = texts;
    this.#onProgress = onProgress;
  }

  /** @param reader of the same checkpoint, whatever build it is for */
  find(reader: Reader, sought: Sought, signal?: AbortSignal): Promise<Found> {
    const key = JSON.stringify(sought);
    const found = this.#found.get(key) ?? readTexts(reader, this.#texts, sought, this.#onProgress, signal);
    this.#found.set(key, found);
    return found;
  }
}

/** Told of texts that pieces of the decoder have read, and of how many such readings there are. */
export type OnRead = (done: number, total: number) => void;

/** What is looked for in what a checkpoint makes of texts. */
export interface Sought {
  /** What the inputs of matrices have in common. */
  moments: boolean;
  /** How far keys and values reach. */
  cacheScales: boolean;
}

export interface Found {
  /** By the names of matrices. Experts have none: most would have seen hardly a token. */
  moments: Map<string, InputMoments>;
  /** Of every layer, where they were sought. */
  cacheScales: CacheScales[];
}

/**
 * Lets a checkpoint read texts in float32, and keeps what is sought.
 *
 * Piece after piece of the decoder reads all the texts: in memory are one layer, the texts' states, and the
 * moments, half a kilobyte for each column of a matrix.
 *
 * @throws BuildError, SlmdError
 */
export async function readTexts(
  reader: Reader,
  texts: readonly string[],
  sought: Sought,
  onRead: OnRead,
  signal?: AbortSignal,
): Promise<Found> {
  const ids = await encodeTexts(reader, texts);
  const checkpoint = await Checkpoint.open(reader.checkpointDir, () => signal?.throwIfAborted());
  try {
    const found: Found = { moments: new Map(), cacheScales: [] };
    const states = await embedded(reader, checkpoint, ids);
    const pieces = piecesOf(reader.architecture, sought);
    let done = 0;
    for (const write of pieces) {
      await withPiece(reader, checkpoint, sought, write, async (piece) => {
        for (const [i, own] of states.entries()) {
          signal?.throwIfAborted();
          states[i] = await piece.read(own);
          onRead(++done, pieces.length * states.length);
        }
        for (const [matrix, moments] of piece.moments) found.moments.set(matrix, moments);
        if (piece.cacheScales !== null) found.cacheScales.push(piece.cacheScales);
      });
    }
    return found;
  } finally {
    await checkpoint.close();
  }
}

/** The states that the first layer gets, [tokens, hidden] for each text. */
async function embedded(
  { architecture: { hiddenSize, factors } }: Reader,
  checkpoint: Checkpoint,
  texts: readonly (readonly number[])[],
): Promise<Float32Array[]> {
  const rows = new Map<number, Float32Array>();
  for (const id of new Set(texts.flat())) {
    for await (const row of checkpoint.rows('model.embed_tokens.weight', id, 1, hiddenSize)) {
      rows.set(
        id,
        row.map((value) => value * factors.embedding),
      );
    }
  }
  return texts.map((ids) => {
    const states = new Float32Array(ids.length * hiddenSize);
    for (const [i, id] of ids.entries()) states.set(rows.get(id)!, i * hiddenSize);
    return states;
  });
}

/** Every layer, and the norm before the head, whose input only the moments are of. */
function piecesOf({ layers, hiddenSize }: Architecture, { moments }: Sought): PieceWriter[] {
  const writers = layers.map(
    ({ rope }, layer): PieceWriter =>
      async (blocks, states) => {
        const rotation = await rotations(blocks, 'input_ids');
        const residual = { sum: states, added: null };
        const { sum, added } = await decoderLayer(blocks, layer, residual, rotation[rope]!);
        return blocks.graph.node('Add', [sum, added!], 'states.next');
      },
  );
  if (!moments) return writers;
  return [
    ...writers,
    async (blocks, states) => {
      const { normed } = await norm(blocks, 'final', 'model.norm.weight', { sum: states, added: null });
      blocks.onLinear?.('head', normed, hiddenSize);
      return normed;
    },
  ];
}
