import { ProtobufWriter } from './protobuf.ts';

/** Element types by their numbers in `TensorProto.DataType`. */
export const elementTypes = {
  float32: 1,
  uint8: 2,
  int8: 3,
  int32: 6,
  int64: 7,
  bool: 9,
  float16: 10,
} as const;

export type ElementType = keyof typeof elementTypes;

/** A number is fixed; a name is known at run time, and the same name means the same size. */
export type Dimension = number | string;

/**
 * Integers are written as INT; floats have to say so, because 1.0 and 1 are the same `number`. A body is
 * the branch of an `If`.
 */
export type Attribute = number | string | readonly number[] | { float: number } | { body: GraphBuilder };

export interface NodeOptions {
  domain?: 'com.microsoft';
  attributes?: Record<string, Attribute>;
}

/** A byte range of a file beside the model file. */
export interface ExternalRange {
  location: string;
  offset: number;
  length: number;
}

/** The contrib operators' domain; each of its operators is specific to ONNX Runtime. */
export const microsoft = 'com.microsoft' as const;

const irVersion = 8;
const opsets = { '': 17, [microsoft]: 1 };

/**
 * Builds one ONNX model: nodes in the order they are added, which must be topological.
 *
 * Names are the edges: every method returns the name of the value that it made, to be passed on.
 * An empty name is an optional input or output left out. Names of values must be unique; a second
 * definition throws, because ONNX Runtime reports it far from its cause.
 */
export class GraphBuilder {
  readonly #name: string;
  readonly #nodes: ProtobufWriter[] = [];
  readonly #initializers: ProtobufWriter[] = [];
  readonly #inputs: ProtobufWriter[] = [];
  readonly #outputs: ProtobufWriter[] = [];
  readonly #defined = new Set<string>();
  readonly #outer: GraphBuilder | undefined;

  constructor(name: string, outer?: GraphBuilder) {
    this.#name = name;
    this.#outer = outer;
  }

  /**
   * A graph inside this one, for a node's attribute. It may use what is defined here so far, and declares
   * its outputs itself; its constants are kept here, where ONNX Runtime prepares them for its kernels.
   */
  body(name: string): GraphBuilder {
    return new GraphBuilder(name, this);
  }

  input(name: string, type: ElementType, shape: readonly Dimension[]): string {
    this.#inputs.push(valueInfo(name, type, shape));
    return this.#define(name);
  }

  /** Declares a value that some node produces as an output of the graph. */
  output(name: string, type: ElementType, shape: readonly Dimension[]): string {
    this.#outputs.push(valueInfo(name, type, shape));
    return name;
  }

  /** A constant inside the model file; `data` holds the elements in row-major order, little-endian. */
  constant(name: string, type: ElementType, dims: readonly number[], data: ArrayBufferView): string {
    if (this.#outer !== undefined) return this.#outer.constant(name, type, dims, data);
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice();
    this.#initializers.push(tensor(name, type, dims).bytes(9, bytes));
    return this.#define(name);
  }

  /** A constant whose bytes are in a file beside the model; several may share one range. */
  external(name: string, type: ElementType, dims: readonly number[], range: ExternalRange): string {
    if (this.#outer !== undefined) return this.#outer.external(name, type, dims, range);
    const proto = tensor(name, type, dims);
    for (const key of ['location', 'offset', 'length'] as const) {
      proto.message(13, new ProtobufWriter().string(1, key).string(2, String(range[key])));
    }
    this.#initializers.push(proto.integer(14, 1));
    return this.#define(name);
  }

  /** Adds a node with one output, and returns that output's name. */
  node(operator: string, inputs: readonly string[], output: string, options: NodeOptions = {}): string {
    this.nodeWithOutputs(operator, inputs, [output], options);
    return output;
  }

  /** Adds a node with several outputs; it is named after the first. */
  nodeWithOutputs(
    operator: string,
    inputs: readonly string[],
    outputs: readonly string[],
    { domain, attributes = {} }: NodeOptions = {},
  ): void {
    for (const input of inputs) {
      if (input !== '' && !this.#isDefined(input)) {
        throw new Error(`${operator} uses ${input}, which is not defined`);
      }
    }
    for (const output of outputs) if (output !== '') this.#define(output);
    const proto = new ProtobufWriter().strings(1, inputs).strings(2, outputs);
    proto.string(3, outputs[0] ?? operator).string(4, operator);
    for (const [name, value] of Object.entries(attributes)) proto.message(5, attribute(name, value));
    if (domain !== undefined) proto.string(7, domain);
    this.#nodes.push(proto);
  }

  /** The bytes of a `ModelProto`. The same calls give the same bytes. */
  encode(): Uint8Array {
    const model = new ProtobufWriter().integer(1, irVersion).string(2, 'slmd').message(7, this.proto());
    for (const [domain, version] of Object.entries(opsets)) {
      model.message(8, new ProtobufWriter().string(1, domain).integer(2, version));
    }
    return model.finish();
  }

  /** The `GraphProto`. */
  proto(): ProtobufWriter {
    const graph = new ProtobufWriter();
    for (const node of this.#nodes) graph.message(1, node);
    graph.string(2, this.#name);
    for (const initializer of this.#initializers) graph.message(5, initializer);
    for (const input of this.#inputs) graph.message(11, input);
    for (const output of this.#outputs) graph.message(12, output);
    return graph;
  }

  #isDefined(name: string): boolean {
    if (this.#outer === undefined) return this.#defined.has(name);
    return this.#defined.has(name) || this.#outer.#isDefined(name);
  }

  #define(name: string): string {
    if (this.#isDefined(name)) throw new Error(`${name} is defined twice`);
    this.#defined.add(name);
    return name;
  }
}

function valueInfo(name: string, type: ElementType, shape: readonly Dimension[]): ProtobufWriter {
  const dims = new ProtobufWriter();
  for (const dim of shape) {
    const proto = new ProtobufWriter();
    dims.message(1, typeof dim === 'number' ? proto.integer(1, dim) : proto.string(2, dim));
  }
  const tensorType = new ProtobufWriter().integer(1, elementTypes[type]).message(2, dims);
  return new ProtobufWriter().string(1, name).message(2, new ProtobufWriter().message(1, tensorType));
}

function tensor(name: string, type: ElementType, dims: readonly number[]): ProtobufWriter {
  return new ProtobufWriter().integers(1, dims).integer(2, elementTypes[type]).string(8, name);
}

/** `AttributeProto`: the value's field and, in field 20, the number of its type. */
function attribute(name: string, value: Attribute): ProtobufWriter {
  const proto = new ProtobufWriter().string(1, name);
  if (typeof value === 'number') return proto.integer(3, value).integer(20, 2);
  if (typeof value === 'string') return proto.string(4, value).integer(20, 3);
  if ('float' in value) return proto.float(2, value.float).integer(20, 1);
  if ('body' in value) return proto.message(6, value.body.proto()).integer(20, 5);
  return proto.integers(8, value).integer(20, 7);
}
