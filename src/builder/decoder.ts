import { type GraphBuilder, microsoft } from '../onnx/graph.ts';
import type { Architecture } from './config.ts';
import { gatherRows, project, slice } from './matrix-nodes.ts';
import { rotaryTables } from './rope.ts';
import type { MatrixPart, StoredMatrix, WeightFormat, WeightStore } from './weights.ts';

export interface DecoderOptions {
  /** Format of the layers' matrices. */
  format: WeightFormat;
  /** Format of the head, and of the embedding where they are one matrix. */
  headFormat: WeightFormat;
  /** Format of an embedding that is not the head. */
  embeddingFormat: WeightFormat;
  accuracyLevel: number;
  logits: 'last' | 'all';
  /** Positions in the rotary tables. */
  contextLength: number;
}

/** The stream between layers: the sum so far, and what the last block adds to it. */
interface Residual {
  sum: string;
  added: string | null;
}

const rotaryNames = ['rotary.cos', 'rotary.sin'];

/** Past every length that a tensor can have: ONNX clamps the end of a slice. */
const toTheEnd = 2 ** 31 - 1;

/**
 * Adds a whole decoder to `graph`, with the interface of `src/model/README.md`, streaming its weights
 * into `weights` in the order in which a run needs them.
 */
export async function buildDecoder(
  graph: GraphBuilder,
  weights: WeightStore,
  architecture: Architecture,
  options: DecoderOptions,
): Promise<void> {
  await new Decoder(graph, weights, architecture, options).build();
}

class Decoder {
  readonly #graph: GraphBuilder;
  readonly #weights: WeightStore;
  readonly #is: Architecture;
  readonly #options: DecoderOptions;

  constructor(
    graph: GraphBuilder,
    weights: WeightStore,
    architecture: Architecture,
    options: DecoderOptions,
  ) {
    this.#graph = graph;
    this.#weights = weights;
    this.#is = architecture;
    this.#options = options;
  }

  async build(): Promise<void> {
    this.#graph.input('input_ids', 'int64', ['batch', 'sequence']);
    this.#graph.input('seqlens_k', 'int32', ['batch']);
    this.#graph.input('total_sequence_length', 'int32', [1]);
    const embedding = await this.#embedding();
    await this.#rotaryTables();
    let residual: Residual = {
      sum: gatherRows(this.#graph, 'input_ids', embedding, 'embedding'),
      added: null,
    };
    for (let layer = 0; layer < this.#is.layers; layer++) residual = await this.#layer(layer, residual);
    await this.#head(residual, embedding);
  }

  async #embedding(): Promise<StoredMatrix> {
    const { tiedHead, vocabularySize, hiddenSize } = this.#is;
    const format = tiedHead ? this.#options.headFormat : this.#options.embeddingFormat;
    const part = { tensor: 'model.embed_tokens.weight', rows: vocabularySize };
    return this.#weights.matrix(tiedHead ? 'head' : 'embed', [part], hiddenSize, format);
  }

  async #rotaryTables(): Promise<void> {
    const { rope, headSize } = this.#is;
    const { contextLength } = this.#options;
    const { cos, sin } = rotaryTables(rope, headSize, contextLength);
    const dims = [contextLength, headSize / 2];
    this.#graph.external('rotary.cos', 'float32', dims, await this.#weights.table(cos));
    this.#graph.external('rotary.sin', 'float32', dims, await this.#weights.table(sin));
    if (!this.#rotateInside) positions(this.#graph);
  }

  /** GroupQueryAttention rotates heads of a multiple of 16; only toys have others. */
  get #rotateInside(): boolean {
    return this.#is.headSize % 16 === 0;
  }

  async #layer(layer: number, residual: Residual): Promise<Residual> {
    const source = `model.layers.${layer}`;
    const attended = await this.#norm(
      `layer.${layer}.attention`,
      `${source}.input_layernorm.weight`,
      residual,
    );
    const attention = await this.#attention(layer, `${source}.self_attn`, attended.normed);
    const fed = await this.#norm(`layer.${layer}.mlp`, `${source}.post_attention_layernorm.weight`, {
      sum: attended.sum,
      added: attention,
    });
    return { sum: fed.sum, added: await this.#mlp(layer, `${source}.mlp`, fed.normed) };
  }

  /** Adds what is to be added, and divides by the root mean square: a sum and its normed form. */
  async #norm(
    name: string,
    tensor: string,
    { sum, added }: Residual,
  ): Promise<{ sum: string; normed: string }> {
    const { hiddenSize, normEpsilon } = this.#is;
    const weight = await this.#weights.vector(tensor, hiddenSize);
    const scale = this.#graph.constant(`${name}.norm.weight`, 'float32', [hiddenSize], weight);
    const epsilon = { float: normEpsilon };
    const normed = `${name}.normed`;
    if (added === null) {
      const attributes = { axis: -1, epsilon };
      this.#graph.node('SimplifiedLayerNormalization', [sum, scale], normed, { attributes });
      return { sum, normed };
    }
    const total = `${name}.sum`;
    this.#graph.nodeWithOutputs(
      'SkipSimplifiedLayerNormalization',
      [sum, added, scale],
      [normed, '', '', total],
      {
        domain: microsoft,
        attributes: { epsilon },
      },
    );
    return { sum: total, normed };
  }

  /** Rotary, grouped-query attention over the KV cache; queries, keys and values are one matrix. */
  async #attention(layer: number, source: string, input: string): Promise<string> {
    const { heads, kvHeads, headSize, hiddenSize, bias } = this.#is;
    const name = `layer.${layer}.attention`;
    const parts = [
      { tensor: `${source}.q_proj`, rows: heads * headSize },
      { tensor: `${source}.k_proj`, rows: kvHeads * headSize },
      { tensor: `${source}.v_proj`, rows: kvHeads * headSize },
    ];
    const qkv = await this.#linear(`${name}.qkv`, parts, hiddenSize, input, bias.qkv);
    const cache = ['key', 'value'].map((kind) => {
      const shape = ['batch', kvHeads];
      const past = `past_key_values.${layer}.${kind}`;
      const present = `present.${layer}.${kind}`;
      this.#graph.input(past, 'float32', [...shape, 'past_capacity', headSize]);
      this.#graph.output(present, 'float32', [...shape, 'capacity', headSize]);
      return { past, present };
    });
    const output = `${name}.heads`;
    const [inputs, rotary] = this.#rotateInside
      ? [[qkv, '', ''], rotaryNames]
      : [this.#rotated(name, qkv), []];
    this.#graph.nodeWithOutputs(
      'GroupQueryAttention',
      [...inputs, ...cache.map(({ past }) => past), 'seqlens_k', 'total_sequence_length', ...rotary],
      [output, ...cache.map(({ present }) => present)],
      {
        domain: microsoft,
        attributes: { num_heads: heads, kv_num_heads: kvHeads, do_rotary: this.#rotateInside ? 1 : 0 },
      },
    );
    const out = [{ tensor: `${source}.o_proj`, rows: hiddenSize }];
    return this.#linear(`${name}.out`, out, heads * headSize, output, bias.attentionOutput);
  }

  /** Splits packed queries, keys and values, and rotates the first two outside of the attention. */
  #rotated(name: string, qkv: string): string[] {
    const { heads, kvHeads, headSize } = this.#is;
    const widths = BigInt64Array.from([heads, kvHeads, kvHeads], (count) => BigInt(count * headSize));
    const split = this.#graph.constant(`${name}.widths`, 'int64', [3], widths);
    const [q, k, v] = ['q', 'k', 'v'].map((part) => `${name}.${part}`) as [string, string, string];
    this.#graph.nodeWithOutputs('Split', [qkv, split], [q, k, v], { attributes: { axis: -1 } });
    const rotate = (input: string) =>
      this.#graph.node('RotaryEmbedding', [input, 'positions', ...rotaryNames], `${input}.rotated`, {
        domain: microsoft,
      });
    return [rotate(q), rotate(k), v];
  }

  /** down(SiLU(gate(x)) × up(x)). */
  async #mlp(layer: number, source: string, input: string): Promise<string> {
    const { hiddenSize, intermediateSize, bias } = this.#is;
    const name = `layer.${layer}.mlp`;
    const wide = (part: string) =>
      this.#linear(
        `${name}.${part}`,
        [{ tensor: `${source}.${part}_proj`, rows: intermediateSize }],
        hiddenSize,
        input,
        bias.mlp,
      );
    const gate = await wide('gate');
    const up = await wide('up');
    const sigmoid = this.#graph.node('Sigmoid', [gate], `${name}.sigmoid`);
    const silu = this.#graph.node('Mul', [gate, sigmoid], `${name}.silu`);
    const gated = this.#graph.node('Mul', [silu, up], `${name}.gated`);
    const down = [{ tensor: `${source}.down_proj`, rows: hiddenSize }];
    return this.#linear(`${name}.down`, down, intermediateSize, gated, bias.mlp);
  }

  async #head(residual: Residual, embedding: StoredMatrix): Promise<void> {
    const { hiddenSize, vocabularySize, tiedHead } = this.#is;
    const { logits, headFormat, accuracyLevel } = this.#options;
    const { normed } = await this.#norm('final', 'model.norm.weight', residual);
    const part = { tensor: 'lm_head.weight', rows: vocabularySize };
    const matrix = tiedHead ? embedding : await this.#weights.matrix('head', [part], hiddenSize, headFormat);
    const input =
      logits === 'all'
        ? normed
        : slice(this.#graph, normed, { begin: -1, end: toTheEnd, axis: 1 }, 'final.last');
    project(this.#graph, input, matrix, 'logits', accuracyLevel);
    this.#graph.output('logits', 'float32', ['batch', logits === 'all' ? 'sequence' : 1, vocabularySize]);
  }

  /** Linear layers that share an input, as one: `parts` name modules with a `weight` and perhaps a `bias`. */
  async #linear(
    name: string,
    parts: readonly MatrixPart[],
    columns: number,
    input: string,
    hasBias: boolean,
  ): Promise<string> {
    const weights = parts.map(({ tensor, rows }) => ({ tensor: `${tensor}.weight`, rows }));
    const matrix = await this.#weights.matrix(name, weights, columns, this.#options.format);
    const biases: number[] = [];
    if (hasBias) {
      for (const { tensor, rows } of parts)
        biases.push(...(await this.#weights.vector(`${tensor}.bias`, rows)));
    }
    const bias = hasBias ? Float32Array.from(biases) : undefined;
    return project(this.#graph, input, matrix, `${name}.output`, this.#options.accuracyLevel, bias);
  }
}

/**
 * The position of every new token [B, S], as GroupQueryAttention counts them: max(T − S, 0) + s. A row
 * of a padded prompt has T < S.
 */
function positions(graph: GraphBuilder): string {
  const int64 = (name: string, value: bigint, dims: number[]) =>
    graph.constant(`positions.${name}`, 'int64', dims, BigInt64Array.of(value));
  const [zero, one, axis] = [int64('zero', 0n, []), int64('one', 1n, []), int64('axis', 1n, [1])];
  const shape = graph.node('Shape', ['input_ids'], 'positions.shape');
  const length = graph.node('Gather', [shape, one], 'positions.length');
  const steps = graph.node('Range', [zero, length, one], 'positions.steps');
  const last = graph.node('Cast', ['seqlens_k'], 'positions.last', { attributes: { to: 7 } });
  const total = graph.node('Add', [last, one], 'positions.total');
  const past = graph.node(
    'Max',
    [graph.node('Sub', [total, length], 'positions.past'), zero],
    'positions.first',
  );
  const column = graph.node('Unsqueeze', [past, axis], 'positions.column');
  return graph.node('Add', [column, steps], 'positions');
}
