import {
  type Dimension,
  type ElementType,
  type ExternalRange,
  elementTypes,
  GraphBuilder,
  type NodeOptions,
} from '../../src/onnx/graph.ts';
import { PlainAttention } from './plain-attention.ts';

/** In what a graph of another exporter differs from the product's own. */
export interface ForeignForm {
  /** Products, a mask and a softmax in place of `GroupQueryAttention`. */
  attention: 'grouped' | 'plain';
  idsType: 'int64' | 'int32';
  /** Whether positions are an input; else the graph counts them. */
  positions: boolean;
  /** How many tokens each row has: what its mask says, what the mask's width says of all alike, or inputs of their own. */
  lengths: 'mask' | 'width' | 'given';
  cacheType: 'float32' | 'float16';
  /** Keys and values of a layer are one tensor. */
  combined: boolean;
  /** An input says for how many positions there are logits. */
  logitsKept: boolean;
  logitsType: 'float32' | 'float16';
  /** Grouped attention computes with floats of another size than its cache has. */
  mixed: boolean;
  /** What the logits go through on their way out; for graphs that cannot be run. */
  through: (graph: GraphBuilder, logits: string) => string;
  /** Names of what is not called as usual. */
  names: Record<string, string>;
  /** Where its weights are: each time the next of these files. */
  locations: readonly string[];
}

export const usualForm: ForeignForm = {
  attention: 'plain',
  idsType: 'int64',
  positions: true,
  lengths: 'mask',
  cacheType: 'float32',
  combined: false,
  logitsKept: false,
  logitsType: 'float32',
  mixed: false,
  through: (_, logits) => logits,
  names: {},
  locations: ['model.onnx_data'],
};

/** The layers' sizes, which the product's own operator is told by its attributes. */
export interface AttentionSizes {
  headSize: number;
  rotated: number;
}

/**
 * Written to by the product's own builder, and gives a graph as others export them: the same model with
 * another interface.
 */
export class ForeignGraph extends GraphBuilder {
  readonly #form: ForeignForm;
  readonly #sizes: AttentionSizes;
  /** What is to be made of a value as soon as it is there. */
  readonly #pending = new Map<string, (made: string) => void>();
  readonly #halves = new Map<string, string>();
  #externals = 0;

  constructor(form: ForeignForm, sizes: AttentionSizes) {
    super('foreign');
    this.#form = form;
    this.#sizes = sizes;
  }

  override input(name: string, type: ElementType, shape: readonly Dimension[]): string {
    if (name === 'input_ids') return this.#ids(shape);
    const given = this.#form.lengths === 'given';
    if (name === 'seqlens_k' && !given) return this.#lengths();
    if (name === 'total_sequence_length' && !given) return name;
    const past = /^past_key_values\.(\d+)\.(key|value)$/.exec(name);
    if (past !== null) return this.#past(name, past[1]!, past[2]!, shape);
    return super.input(name, type, shape);
  }

  override output(name: string, type: ElementType, shape: readonly Dimension[]): string {
    const present = /^present\.(\d+)\.(key|value)$/.exec(name);
    if (present !== null) return this.#present(name, present[1]!, shape);
    if (name === 'logits') return super.output(this.#named(name), this.#form.logitsType, shape);
    return super.output(name, type, shape);
  }

  override external(name: string, type: ElementType, dims: readonly number[], range: ExternalRange): string {
    const { locations } = this.#form;
    const location = locations[this.#externals++ % locations.length]!;
    return super.external(name, type, dims, { ...range, location });
  }

  override nodeWithOutputs(
    operator: string,
    inputs: readonly string[],
    outputs: readonly string[],
    options: NodeOptions = {},
  ): void {
    const [output = ''] = outputs;
    const { attention, cacheType, positions, mixed } = this.#form;
    if (operator === 'GroupQueryAttention' && attention === 'plain') this.#attend(inputs, outputs, options);
    else if (operator === 'GroupQueryAttention' && positions && inputs[7] !== undefined)
      this.#attendRotated(inputs, outputs, options);
    else if (operator === 'GroupQueryAttention' && cacheType === 'float16' && !mixed)
      this.#attendInHalf(inputs, outputs, options);
    else if (output === 'positions' && positions)
      super.nodeWithOutputs('Identity', ['position_ids'], outputs);
    else if (output === 'logits') this.#logits(operator, inputs, options);
    else super.nodeWithOutputs(operator, inputs, outputs, options);
    for (const made of outputs) {
      this.#pending.get(made)?.(made);
      this.#pending.delete(made);
    }
  }

  #named(name: string): string {
    return this.#form.names[name] ?? name;
  }

  #ids(shape: readonly Dimension[]): string {
    const { idsType, positions, logitsKept } = this.#form;
    const name = super.input(this.#named('input_ids'), idsType, shape);
    // The builder's nodes use the name that it chose.
    if (name !== 'input_ids') super.nodeWithOutputs('Identity', [name], ['input_ids']);
    if (positions) super.input('position_ids', idsType, shape);
    if (logitsKept) super.input('num_logits_to_keep', 'int64', []);
    return 'input_ids';
  }

  /** Both lengths, from a mask that has a one for each token. */
  #lengths(): string {
    const { idsType, lengths } = this.#form;
    let mask = super.input(this.#named('attention_mask'), idsType, ['batch', 'total']);
    const to = (type: ElementType) => ({ attributes: { to: elementTypes[type] } });
    const one = this.constant(
      'lengths.one',
      idsType,
      [1],
      idsType === 'int64' ? BigInt64Array.of(1n) : Int32Array.of(1),
    );
    const axis = this.constant('lengths.axis', 'int64', [1], BigInt64Array.of(1n));
    const dims = this.node('Shape', [mask], 'lengths.dims');
    if (lengths === 'width')
      mask = this.node('Add', [this.node('Sub', [mask, mask], 'lengths.none'), one], 'lengths.all');
    const sum = this.node('ReduceSum', [mask, axis], 'lengths.sum', { attributes: { keepdims: 0 } });
    this.node('Cast', [this.node('Sub', [sum, one], 'lengths.last')], 'seqlens_k', to('int32'));
    this.node(
      'Cast',
      [this.node('Gather', [dims, axis], 'lengths.total')],
      'total_sequence_length',
      to('int32'),
    );
    return 'seqlens_k';
  }

  #past(name: string, layer: string, kind: string, shape: readonly Dimension[]): string {
    const { combined, cacheType } = this.#form;
    const type = cacheType;
    const joined = `past_${layer}`;
    if (combined && kind === 'key') super.input(joined, type, [2, ...shape]);
    const half = combined
      ? this.node('Gather', [joined, this.#index(`${name}.index`, kind === 'key' ? 0 : 1)], `${name}.half`, {
          attributes: { axis: 0 },
        })
      : super.input(this.#cacheName(name, layer, kind), type, shape);
    if (type === 'float32' || this.#form.attention === 'grouped') return half;
    return this.node('Cast', [half], `${name}.float32`, { attributes: { to: elementTypes.float32 } });
  }

  /** @returns what the attention is to call it; what becomes of it follows when it is made */
  #present(name: string, layer: string, shape: readonly Dimension[]): string {
    const { combined, cacheType } = this.#form;
    const kind = name.endsWith('key') ? 'key' : 'value';
    if (!combined && (cacheType === 'float32' || this.#form.attention === 'grouped'))
      return super.output(this.#cacheName(name, layer, kind), cacheType, shape);
    const half = () =>
      cacheType === 'float32'
        ? `${name}.attended`
        : this.node(
            'Cast',
            [`${name}.attended`],
            combined ? `${name}.half` : this.#cacheName(name, layer, kind),
            { attributes: { to: elementTypes[cacheType] } },
          );
    this.#pending.set(`${name}.attended`, () => {
      const made = half();
      if (!combined) return;
      this.#halves.set(
        kind,
        this.node(
          'Unsqueeze',
          [made, this.constant(`${name}.axis`, 'int64', [1], BigInt64Array.of(0n))],
          `${name}.row`,
        ),
      );
      if (kind === 'value')
        this.node('Concat', [this.#halves.get('key')!, this.#halves.get('value')!], `present_${layer}`, {
          attributes: { axis: 0 },
        });
    });
    if (!combined) super.output(this.#cacheName(name, layer, kind), cacheType, shape);
    else if (kind === 'value') super.output(`present_${layer}`, cacheType, [2, ...shape]);
    return `${name}.attended`;
  }

  #cacheName(name: string, layer: string, kind: string): string {
    const pattern = this.#form.names[`${name.startsWith('past') ? 'past' : 'present'}.${kind}`];
    return pattern?.replace('%d', layer) ?? name;
  }

  #index(name: string, value: number): string {
    return this.constant(name, 'int64', [], BigInt64Array.of(BigInt(value)));
  }

  #logits(operator: string, inputs: readonly string[], options: NodeOptions): void {
    const { logitsKept, logitsType, through } = this.#form;
    super.nodeWithOutputs(operator, inputs, ['logits.all'], options);
    let made = through(this, 'logits.all');
    if (logitsKept) {
      const ints = (name: string, value: bigint) =>
        this.constant(`logits.${name}`, 'int64', [1], BigInt64Array.of(value));
      const first = this.node(
        'Reshape',
        [this.node('Neg', ['num_logits_to_keep'], 'logits.first'), ints('shape', 1n)],
        'logits.begin',
      );
      made = this.node('Slice', [made, first, ints('end', 2n ** 31n), ints('axis', 1n)], 'logits.kept');
    }
    super.nodeWithOutputs('Cast', [made], [this.#named('logits')], {
      attributes: { to: elementTypes[logitsType] },
    });
  }

  /** The same operator, over queries and keys that are rotated before, by the positions that are given. */
  #attendRotated(inputs: readonly string[], outputs: readonly string[], options: NodeOptions): void {
    const [query = '', key = '', value = '', ...others] = inputs;
    const [pastKey = '', pastValue = '', last = '', total = '', cos = '', sin = ''] = others;
    const { attributes = {} } = options;
    const { headSize, rotated } = this.#sizes;
    const heads = attributes.num_heads as number;
    const kvHeads = attributes.kv_num_heads as number;
    const plain = new PlainAttention(this, outputs[0]!, headSize);
    const parts = key === '' ? plain.split(query, [heads, kvHeads, kvHeads]) : [query, key, value];
    const [q = '', k = '', v = ''] = parts;
    const rotate = (part: string, count: number) =>
      plain.rotate(part, count, this.#wide(), [cos, sin], rotated);
    super.nodeWithOutputs(
      'GroupQueryAttention',
      [rotate(q, heads), rotate(k, kvHeads), v, pastKey, pastValue, last, total],
      outputs,
      { ...options, attributes: { ...attributes, do_rotary: 0 } },
    );
  }

  /** The same operator, with everything it computes with in half precision. */
  #attendInHalf(inputs: readonly string[], outputs: readonly string[], options: NodeOptions): void {
    const [attended = '', ...present] = outputs;
    const cast = (input: string, output: string, type: ElementType) =>
      this.node('Cast', [input], output, { attributes: { to: elementTypes[type] } });
    const halves = inputs.map((input, i) =>
      input === '' || (i > 2 && i < 7) ? input : cast(input, `${attended}.half.${i}`, 'float16'),
    );
    super.nodeWithOutputs('GroupQueryAttention', halves, [`${attended}.half`, ...present], options);
    cast(`${attended}.half`, attended, 'float32');
  }

  /** What `GroupQueryAttention` does, in ONNX's own operators but for the rotation. */
  #attend(inputs: readonly string[], outputs: readonly string[], { attributes = {} }: NodeOptions): void {
    const [query = '', key = '', value = '', pastKey = '', pastValue = '', , , cos, sin] = inputs;
    const [attended = '', presentKey = '', presentValue = ''] = outputs;
    const heads = attributes.num_heads as number;
    const kvHeads = attributes.kv_num_heads as number;
    const { headSize } = this.#sizes;
    const plain = new PlainAttention(this, attended, headSize);
    let parts = [query, key, value];
    if (key === '') parts = plain.split(query, [heads, kvHeads, kvHeads]);
    let [q = '', k = '', v = ''] = parts;
    if (cos !== undefined && sin !== undefined) {
      const positions = this.#form.positions ? this.#wide() : plain.positions();
      q = plain.rotate(q, heads, positions, [cos, sin], this.#sizes.rotated);
      k = plain.rotate(k, kvHeads, positions, [cos, sin], this.#sizes.rotated);
    }
    const concat = (past: string, part: string, present: string) =>
      this.node('Concat', [past, plain.byHead(part, kvHeads)], present, { attributes: { axis: 2 } });
    const keys = concat(pastKey, k, presentKey);
    const values = concat(pastValue, v, presentValue);
    plain.attend(plain.byHead(q, heads), keys, values, {
      heads,
      kvHeads,
      attended,
      attributes,
      mask: this.#named('attention_mask'),
    });
  }

  /** Positions as the rotation wants them. */
  #wide(): string {
    if (this.#form.idsType === 'int64') return 'position_ids';
    if (!this.#halves.has('positions'))
      this.#halves.set(
        'positions',
        this.node('Cast', ['position_ids'], 'position_ids.wide', { attributes: { to: elementTypes.int64 } }),
      );
    return this.#halves.get('positions')!;
  }
}
