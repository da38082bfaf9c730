import { type GraphBuilder, microsoft } from '../onnx/graph.ts';
import type { Activation, ExpertMlp } from './architecture.ts';
import type { Blocks } from './linear.ts';
import { project } from './matrix-nodes.ts';
import { activate } from './mlp.ts';
import type { StoredMatrix } from './weights.ts';

/**
 * A mixture of experts: [B, S, hidden] → [B, S, hidden].
 *
 * Each expert is an `If` of its own. A token that is decoded takes a few experts, and the others' matrices
 * are not read; in a prompt each expert multiplies the rows of those tokens that chose it. ONNX Runtime's
 * own operator for this (QMoE) needs twenty times as long per token on a CPU.
 */
export async function expertMlp(
  blocks: Blocks,
  mlp: ExpertMlp,
  layer: number,
  input: string,
): Promise<string> {
  const { graph, architecture } = blocks;
  const name = `layer.${layer}.experts`;
  const width = int64(graph, `${name}.width`, [-1, architecture.hiddenSize]);
  const rows = graph.node('Reshape', [input, width], `${name}.rows`);
  const routes = await route(blocks, mlp, layer, rows);
  const nothing = graph.constant(`${name}.nothing`, 'float32', [1], Float32Array.of(0));
  let sum = graph.node('Mul', [rows, nothing], `${name}.sum`);
  const outputs = (what: string) =>
    Array.from({ length: mlp.experts }, (_, expert) => `${name}.${expert}.${what}`);
  const [used, shares] = [outputs('used'), outputs('share')];
  graph.nodeWithOutputs('Split', [routes.used], used, { attributes: { axis: 0 } });
  graph.nodeWithOutputs('Split', [routes.shares], shares, { attributes: { axis: 1 } });
  const flatShape = int64(graph, `${name}.flat`, [-1]);
  for (const [expert, condition] of used.entries()) {
    const matrices = await expertMatrices(blocks, mlp, layer, expert);
    const values = { condition, share: shares[expert]!, flatShape, rows, sum };
    sum = addExpert(blocks, { mlp, name: `${name}.${expert}`, ...values }, matrices);
  }
  const shape = graph.node('Shape', [input], `${name}.shape`);
  return graph.node('Reshape', [sum, shape], `${name}.output`);
}

/** What tokens think of experts. */
interface Routes {
  /** How much each token takes of each expert: [tokens, experts], 0 for most. */
  shares: string;
  /** Which experts any token takes: bool [experts]. */
  used: string;
}

/** The best experts of each token, weighed by a softmax among themselves. */
async function route(
  { graph, weights, architecture, options }: Blocks,
  { experts, expertsPerToken }: ExpertMlp,
  layer: number,
  rows: string,
): Promise<Routes> {
  const name = `layer.${layer}.router`;
  const tensor = `model.layers.${layer}.block_sparse_moe.router.layer.weight`;
  // A few rows, on which everything depends: they stay as they are.
  const parts = [{ tensor, rows: experts }];
  const matrix = await weights.matrix(name, parts, architecture.hiddenSize, 'float32');
  const scores = project(graph, rows, matrix, `${name}.scores`, options.accuracyLevel);
  const [values, indices] = [`${name}.values`, `${name}.indices`];
  graph.nodeWithOutputs(
    'TopK',
    [scores, int64(graph, `${name}.count`, [expertsPerToken])],
    [values, indices],
    {
      attributes: { axis: -1 },
    },
  );
  const chosen = graph.node('Softmax', [values], `${name}.chosen`, { attributes: { axis: -1 } });
  const zero = graph.constant(`${name}.zero`, 'float32', [1], Float32Array.of(0));
  const none = graph.node('Mul', [scores, zero], `${name}.none`);
  const shares = graph.node('ScatterElements', [none, indices, chosen], `${name}.shares`, {
    attributes: { axis: 1 },
  });
  const totals = graph.node('ReduceSum', [shares, int64(graph, `${name}.tokens`, [0])], `${name}.totals`, {
    attributes: { keepdims: 0 },
  });
  return { shares, used: graph.node('Greater', [totals, zero], `${name}.used`) };
}

interface ExpertMatrices {
  gateAndUp: StoredMatrix;
  down: StoredMatrix;
}

/** One expert's part of the tensors in which the checkpoint keeps all of them. */
async function expertMatrices(
  { weights, architecture, options }: Blocks,
  { size, experts }: ExpertMlp,
  layer: number,
  expert: number,
): Promise<ExpertMatrices> {
  const { hiddenSize, factors } = architecture;
  const format = options.layerFormats[layer]!;
  const source = `model.layers.${layer}.block_sparse_moe`;
  const name = `layer.${layer}.experts.${expert}`;
  const widening = {
    tensor: `${source}.input_linear.weight`,
    rows: 2 * size,
    shape: [experts, 2 * size, hiddenSize],
    from: expert * 2 * size,
  };
  const narrowing = {
    tensor: `${source}.output_linear.weight`,
    rows: hiddenSize,
    shape: [experts, hiddenSize, size],
    from: expert * hiddenSize,
    times: factors.residual,
  };
  return {
    gateAndUp: await weights.matrix(`${name}.gate_up`, [widening], hiddenSize, format),
    down: await weights.matrix(`${name}.down`, [narrowing], size, format),
  };
}

interface ExpertNodes {
  mlp: ExpertMlp;
  name: string;
  /** Whether any token takes this expert. */
  condition: string;
  /** How much of it each token takes, [tokens, 1]. */
  share: string;
  /** The constant that makes it [tokens]. */
  flatShape: string;
  /** All tokens, [tokens, hidden]. */
  rows: string;
  /** What the experts before this one add up to, [tokens, hidden]. */
  sum: string;
}

/** The sum with what this expert adds to the rows of its tokens; the sum as it is where it has none. */
function addExpert(
  { graph, architecture, options }: Blocks,
  { mlp, name, condition, share, flatShape, rows, sum }: ExpertNodes,
  { gateAndUp, down }: ExpertMatrices,
): string {
  const shape = ['tokens', architecture.hiddenSize];
  const otherwise = graph.body(`${name}.otherwise`);
  otherwise.output(otherwise.node('Identity', [sum], `${name}.unchanged`), 'float32', shape);
  const body = graph.body(name);
  const flat = body.node('Reshape', [share, flatShape], `${name}.share.flat`);
  const places = body.node('NonZero', [flat], `${name}.places`);
  const tokens = body.node('Transpose', [places], `${name}.tokens`);
  const input = body.node('GatherND', [rows, tokens], `${name}.input`);
  const widened = project(body, input, gateAndUp, `${name}.widened`, options.accuracyLevel);
  const [gate, up] = [`${name}.gate`, `${name}.up`];
  body.nodeWithOutputs('Split', [widened], [gate, up], { attributes: { axis: -1 } });
  const activated = activateInBody(body, mlp.activation, gate, name);
  const gated = body.node('Mul', [activated, up], `${name}.gated`);
  const narrowed = project(body, gated, down, `${name}.narrowed`, options.accuracyLevel);
  const own = body.node('GatherND', [share, tokens], `${name}.share.own`);
  const weighed = body.node('Mul', [narrowed, own], `${name}.weighed`);
  const added = body.node('ScatterND', [sum, tokens, weighed], `${name}.added`, {
    attributes: { reduction: 'add' },
  });
  body.output(added, 'float32', shape);
  return graph.node('If', [condition], `${name}.sum`, {
    attributes: { then_branch: { body }, else_branch: { body: otherwise } },
  });
}

/** ONNX Runtime makes one operator of SiLU's two by itself, but not inside of a body. */
function activateInBody(body: GraphBuilder, activation: Activation, input: string, name: string): string {
  if (activation !== 'silu') return activate(body, activation, input, name);
  return body.node('QuickGelu', [input], `${name}.silu`, {
    domain: microsoft,
    attributes: { alpha: { float: 1 } },
  });
}

function int64(graph: GraphBuilder, name: string, values: number[]): string {
  return graph.constant(name, 'int64', [values.length], BigInt64Array.from(values, BigInt));
}
