import type { Architecture } from './architecture.ts';
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
  #moments: Promise<Map<string, InputMoments>> | null = null;

  /** @param texts each is read as a user's turn; at most `calibrationTokensMax` tokens of them count */
  constructor(texts: readonly string[], onProgress: OnRead = () => {}) {
    this.#texts = texts;
    this.#onProgress = onProgress;
  }

  /** @param reader of the same checkpoint, whatever build it is for */
  moments(reader: Reader, signal?: AbortSignal): Promise<Map<string, InputMoments>> {
    this.#moments ??= inputMoments(reader, this.#texts, this.#onProgress, signal);
    return this.#moments;
  }
}

/** Told of texts that pieces of the decoder have read, and of how many such readings there are. */
export type OnRead = (done: number, total: number) => void;

/**
 * Lets a checkpoint read texts in float32, and keeps what the inputs of its matrices have in common.
 *
 * Piece after piece of the decoder reads all the texts: in memory are one layer, the texts' states, and the
 * moments, half a kilobyte for each column of a matrix.
 *
 * @returns moments by the names of matrices. Experts have none: most would have seen hardly a token.
 * @throws BuildError, SlmdError
 */
export async function inputMoments(
  reader: Reader,
  texts: readonly string[],
  onRead: OnRead,
  signal?: AbortSignal,
): Promise<Map<string, InputMoments>> {
  const ids = await encodeTexts(reader, texts);
  const checkpoint = await Checkpoint.open(reader.checkpointDir, () => signal?.throwIfAborted());
  try {
    const all = new Map<string, InputMoments>();
    const states = await embedded(reader, checkpoint, ids);
    const pieces = piecesOf(reader.architecture);
    let done = 0;
    for (const write of pieces) {
      await withPiece(reader, checkpoint, write, async (piece) => {
        for (const [i, own] of states.entries()) {
          signal?.throwIfAborted();
          states[i] = await piece.read(own);
          onRead(++done, pieces.length * states.length);
        }
        for (const [matrix, moments] of piece.moments) all.set(matrix, moments);
      });
    }
    return all;
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

/** Every layer, and the norm before the head. */
function piecesOf({ layers, hiddenSize }: Architecture): PieceWriter[] {
  const writers = layers.map(
    ({ rope }, layer): PieceWriter =>
      async (blocks, states) => {
        const rotation = await rotations(blocks, 'input_ids');
        const residual = { sum: states, added: null };
        const { sum, added } = await decoderLayer(blocks, layer, residual, rotation[rope]!);
        return blocks.graph.node('Add', [sum, added!], 'states.next');
      },
  );
  return [
    ...writers,
    async (blocks, states) => {
      const { normed } = await norm(blocks, 'final', 'model.norm.weight', { sum: states, added: null });
      blocks.onLinear?.('head', normed, hiddenSize);
      return normed;
    },
  ];
}
