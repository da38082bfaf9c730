import {
  type Attribute,
  elementTypes,
  type GraphBuilder,
  microsoft,
  type NodeOptions,
} from '../../src/onnx/graph.ts';

interface Attended {
  heads: number;
  kvHeads: number;
  attended: string;
  attributes: Record<string, Attribute>;
  mask: string;
}

/** The nodes of one layer's attention. */
export class PlainAttention {
  readonly #graph: GraphBuilder;
  readonly #name: string;
  readonly #headSize: number;
  #values = 0;

  constructor(graph: GraphBuilder, name: string, headSize: number) {
    this.#graph = graph;
    this.#name = name;
    this.#headSize = headSize;
  }

  split(packed: string, heads: number[]): string[] {
    const widths = heads.map((count) => count * this.#headSize);
    const outputs = heads.map(() => this.#new());
    this.#graph.nodeWithOutputs('Split', [packed, this.#ints(widths)], outputs, { attributes: { axis: -1 } });
    return outputs;
  }

  rotate(part: string, heads: number, positions: string, tables: string[], rotated: number): string {
    const attributes = rotated === this.#headSize ? {} : { num_heads: heads, rotary_embedding_dim: rotated };
    return this.#make('RotaryEmbedding', [part, positions, ...tables], { domain: microsoft, attributes });
  }

  /** [B, S, heads × size] → [B, heads, S, size]. */
  byHead(part: string, heads: number): string {
    const split = this.#make('Reshape', [part, this.#ints([0, 0, heads, this.#headSize])]);
    return this.#make('Transpose', [split], { attributes: { perm: [0, 2, 1, 3] } });
  }

  /** Positions of the new tokens, [1, S], by the lengths. */
  positions(): string {
    const [first, total] = this.#bounds();
    return this.#make('Unsqueeze', [this.#make('Range', [first, total, this.#number(1)]), this.#ints([0])]);
  }

  attend(
    query: string,
    keys: string,
    values: string,
    { heads, kvHeads, attended, attributes, mask }: Attended,
  ): void {
    const wide = (input: string) => this.#make('Unsqueeze', [input, this.#ints([2])]);
    const grouped = this.#make('Reshape', [
      query,
      this.#ints([0, kvHeads, heads / kvHeads, -1, this.#headSize]),
    ]);
    const turned = this.#make('Transpose', [keys], { attributes: { perm: [0, 1, 3, 2] } });
    const scale = (attributes.scale as { float: number } | undefined)?.float ?? 1 / Math.sqrt(this.#headSize);
    let scores = this.#make('Mul', [this.#make('MatMul', [grouped, wide(turned)]), this.#float(scale)]);
    const softcap = (attributes.softcap as { float: number } | undefined)?.float;
    if (softcap !== undefined) {
      const bounded = this.#make('Tanh', [this.#make('Div', [scores, this.#float(softcap)])]);
      scores = this.#make('Mul', [bounded, this.#float(softcap)]);
    }
    const seen = this.#seen(mask, attributes.local_window_size as number | undefined);
    const masked = this.#make('Where', [seen, scores, this.#float(-1e9)]);
    const weights = this.#make('Softmax', [masked], { attributes: { axis: -1 } });
    const mixed = this.#make('MatMul', [weights, wide(values)]);
    const apart = this.#make('Reshape', [mixed, this.#ints([0, heads, -1, this.#headSize])]);
    const together = this.#make('Transpose', [apart], { attributes: { perm: [0, 2, 1, 3] } });
    this.#graph.node('Reshape', [together, this.#ints([0, 0, heads * this.#headSize])], attended);
  }

  /** Which tokens [T] each new token [S] sees. */
  #seen(mask: string, window: number | undefined): string {
    const [first, total] = this.#bounds();
    const range = (from: string) => this.#make('Range', [from, total, this.#number(1)]);
    const rows = this.#make('Unsqueeze', [range(first), this.#ints([1])]);
    const columns = range(this.#number(0));
    let seen = this.#make('LessOrEqual', [columns, rows]);
    if (window !== undefined) {
      const begin = this.#make('Sub', [rows, this.#number(window)]);
      seen = this.#make('And', [seen, this.#make('Greater', [columns, begin])]);
    }
    const real = this.#make('Cast', [mask], { attributes: { to: elementTypes.bool } });
    return this.#make('And', [seen, this.#make('Unsqueeze', [real, this.#ints([1, 2, 3])])]);
  }

  /** P and T as numbers, T by what the mask says and S by the ids. */
  #bounds(): [string, string] {
    const total = this.#make('Squeeze', [
      this.#make('Cast', ['total_sequence_length'], { attributes: { to: elementTypes.int64 } }),
    ]);
    const length = this.#make('Gather', [this.#make('Shape', ['input_ids']), this.#number(1)]);
    return [this.#make('Sub', [total, length]), total];
  }

  #make(operator: string, inputs: string[], options: NodeOptions = {}): string {
    return this.#graph.node(operator, inputs, this.#new(), options);
  }

  #new(): string {
    return `${this.#name}.plain.${this.#values++}`;
  }

  #ints(values: number[]): string {
    return this.#graph.constant(this.#new(), 'int64', [values.length], BigInt64Array.from(values, BigInt));
  }

  #number(value: number): string {
    return this.#graph.constant(this.#new(), 'int64', [], BigInt64Array.of(BigInt(value)));
  }

  #float(value: number): string {
    return this.#graph.constant(this.#new(), 'float32', [], Float32Array.of(value));
  }
}
