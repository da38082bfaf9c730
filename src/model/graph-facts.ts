import type { GraphFile, GraphNode } from '../onnx/graph-file.ts';
import type { GraphInterface } from '../onnx/graph-interface.ts';
import type { Manifest } from './manifest.ts';

/** What a graph's operators and weights say of its quantisation and its size. */
export function graphFacts(graph: GraphFile): Pick<Manifest, 'quantization' | 'parameters'> {
  return { quantization: quantizationOf(graph), parameters: parametersOf(graph) };
}

/** Operators that choose which weights a token meets. */
const routers = ['TopK', 'MoE', 'QMoE'];

/** Whether tokens go to some of several experts each. */
export function hasExperts({ nodes }: GraphFile): boolean {
  return nodes.some(({ operator }) => routers.includes(operator));
}

/** Operators that find one scale for all that they are given. */
const scalers = ['DynamicQuantizeLinear', 'DynamicQuantizeMatMul'];

/** Whether tokens of a run share a scale: what one is rounded to depends on the others then. */
export function sharesScales({ nodes }: GraphFile): boolean {
  return nodes.some(({ operator }) => scalers.includes(operator));
}

/**
 * Whether what a token leaves in the KV cache depends on the tokens of its run, whatever grains runs are cut in: by
 * scales that they share, or because keys are rounded between runs and not within one.
 */
export function dependsOnRuns(graph: GraphFile, foreign: GraphInterface | undefined): boolean {
  const grows = foreign !== undefined && !foreign.shared;
  return sharesScales(graph) || (grows && foreign.cache.some(({ type }) => type !== 'float32'));
}

/** Operators that multiply by eight-bit weights, one scale for a tensor or a column. */
const byteOperators = ['MatMulInteger', 'DynamicQuantizeMatMul', 'MatMulIntegerToFloat', 'QLinearMatMul'];

function quantizationOf({ nodes, weights }: GraphFile): Manifest['quantization'] {
  const blocks = nodes.filter(({ operator }) => operator === 'MatMulNBits');
  if (blocks.length > 0) {
    const bits = mostFrequent(blocks.map((node) => bitsOf(node)));
    const typical = blocks.find((node) => bitsOf(node) === bits)!;
    return {
      bits,
      head_bits: bitsOf(blocks.at(-1)!),
      block_size: typical.attributes.get('block_size') ?? null,
      accuracy_level: typical.attributes.get('accuracy_level') ?? 0,
    };
  }
  const none = { block_size: null, accuracy_level: null };
  const bnb4 = nodes.find(({ operator }) => operator === 'MatMulBnb4');
  if (bnb4 !== undefined)
    return { bits: 4, head_bits: 4, ...none, block_size: bnb4.attributes.get('block_size') ?? null };
  if (nodes.some(({ operator }) => byteOperators.includes(operator)))
    return { bits: 8, head_bits: 8, ...none };
  const size = (type: string) =>
    weights.filter((weight) => weight.type === type).reduce((sum, { elements }) => sum + elements, 0);
  const bits = size('float16') > size('float32') ? 16 : 32;
  return { bits, head_bits: bits, ...none };
}

function bitsOf({ attributes }: GraphNode): 4 | 8 {
  return attributes.get('bits') === 8 ? 8 : 4;
}

function mostFrequent(values: readonly (4 | 8)[]): 4 | 8 {
  return values.filter((value) => value === 8).length * 2 > values.length ? 8 : 4;
}

/** Weights that are stored in pieces of bytes count by their bits, and their scales do not count. */
function parametersOf({ nodes, weights }: GraphFile): number {
  const packed = new Map<string, number>();
  const beside = new Set<string>();
  for (const { operator, inputs, attributes } of nodes) {
    const [first = '', second = '', ...others] = inputs;
    if (operator === 'MatMulNBits' || operator === 'MatMulBnb4') {
      packed.set(second, (attributes.get('K') ?? 0) * (attributes.get('N') ?? 0));
      for (const name of others.slice(0, 2)) beside.add(name);
    } else if (operator === 'GatherBlockQuantized') {
      packed.set(first, -(attributes.get('bits') ?? 4));
      for (const name of others) beside.add(name);
    }
  }
  let parameters = 0;
  for (const { name, elements, type } of weights) {
    if (beside.has(name) || type === 'int64') continue;
    const known = packed.get(name);
    // A table of rows says its bits only: as many weights as there are bits for in its bytes.
    parameters += known === undefined ? elements : known < 0 ? (elements * 8) / -known : known;
  }
  return Math.max(1, Math.round(parameters));
}
