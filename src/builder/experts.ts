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
 * own operator for this (QMoE) needs twenty times as long per token on a CPU. What is common to the experts
 * is done outside of their bodies, once for all of them: there are hundreds of bodies in a model, and each
 * node in them costs some microseconds for each token.
 */
export async function expertMlp(
  blocks: Blocks,
  mlp: ExpertMlp,
  layer: number,
  input: string,
): Promise<string> {
  const { graph, architecture } = blocks;
  const { hiddenSize } = architecture;
  const name = `layer.${layer}.experts`;
  const width = int64(graph, `${name}.width`, [-1, hiddenSize]);
  const rows = graph.node('Reshape', [input, width], `${name}.rows`);
  const routes = await route(blocks, mlp, layer, rows);
  const outputs = (what: string) =>
    Array.from({ length: mlp.experts }, (_, expert) => `${name}.${expert}.${what}`);
  const [used, taken] = [outputs('used'), outputs('rows')];
  graph.nodeWithOutputs('Split', [routes.used], used, { attributes: { axis: 0 } });
  const sent = graph.node('Gather', [rows, routes.tokens], `${name}.sent`);
  graph.nodeWithOutputs('Split', [sent, routes.counts], taken, { attributes: { axis: 0 } });
  const given: string[] = [];
  for (const [expert, condition] of used.entries()) {
    const matrices = await expertMatrices(blocks, mlp, layer, expert);
    given.push(
      expertRows(blocks, { mlp, name: `${name}.${expert}`, condition, rows: taken[expert]! }, matrices),
    );
  }
  const all = graph.node('Concat', given, `${name}.given`, { attributes: { axis: 0 } });
  const back = graph.node('Gather', [all, routes.places], `${name}.back`);
  const perToken = int64(graph, `${name}.per_token`, [-1, mlp.expertsPerToken, hiddenSize]);
  const answers = graph.node('Reshape', [back, perToken], `${name}.answers`);
  const sum = graph.node('MatMul', [routes.shares, answers], `${name}.sum`);
  const shape = graph.node('Shape', [input], `${name}.shape`);
  return graph.node('Reshape', [sum, shape], `${name}.output`);
}

/** What tokens think of experts. A row is one token for one of its experts; rows are sorted by their experts. */
interface Routes {
  /** How much each token takes of each of its experts: [tokens, 1, experts per token]. */
  shares: string;
  /** Whose token each row is: [rows]. */
  tokens: string;
  /** How many rows each expert has: [experts]. */
  counts: string;
  /** Which experts have any: bool [experts]. */
  used: string;
  /** In which row the first token's first expert is, then its second, and so on: [rows]. */
  places: string;
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
  const count = int64(graph, `${name}.count`, [expertsPerToken]);
  const [values, indices] = [`${name}.values`, `${name}.indices`];
  graph.nodeWithOutputs('TopK', [scores, count], [values, indices], { attributes: { axis: -1 } });
  const chosen = graph.node('Softmax', [values], `${name}.chosen`, { attributes: { axis: -1 } });
  const sharesShape = int64(graph, `${name}.shares.shape`, [-1, 1, expertsPerToken]);
  const flat = graph.node('Reshape', [indices, int64(graph, `${name}.flat.shape`, [-1])], `${name}.flat`);
  const length = graph.node('Shape', [flat], `${name}.length`);
  const order = ascending(graph, flat, length, `${name}.order`);
  const zeroAndOne = int64(graph, `${name}.bits`, [0, 1]);
  const marks = graph.node(
    'OneHot',
    [flat, int64(graph, `${name}.experts`, [experts]), zeroAndOne],
    `${name}.marks`,
  );
  const axes = int64(graph, `${name}.axes`, [0]);
  const counts = graph.node('ReduceSum', [marks, axes], `${name}.counts`, { attributes: { keepdims: 0 } });
  return {
    shares: graph.node('Reshape', [chosen, sharesShape], `${name}.shares`),
    tokens: graph.node('Div', [order, count], `${name}.tokens`),
    counts,
    used: graph.node('Greater', [counts, axes], `${name}.used`),
    places: ascending(graph, order, length, `${name}.places`),
  };
}

/** Where the smallest value is, then the next, and so on; of equal ones the first comes first. */
function ascending(graph: GraphBuilder, values: string, length: string, name: string): string {
  graph.nodeWithOutputs('TopK', [values, length], [`${name}.sorted`, name], { attributes: { largest: 0 } });
  return name;
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
  /** The rows that do, [rows, hidden]. */
  rows: string;
}

/** What this expert makes of its rows, [rows, hidden]; where there are none, the same nothing. */
function expertRows(
  { graph, architecture, options }: Blocks,
  { mlp, name, condition, rows }: ExpertNodes,
  { gateAndUp, down }: ExpertMatrices,
): string {
  // A length of its own: values whose lengths have one name may be given one buffer.
  const shape = [`${name}.length`, architecture.hiddenSize];
  const otherwise = graph.body(`${name}.otherwise`);
  otherwise.output(otherwise.node('Identity', [rows], `${name}.nothing`), 'float32', shape);
  const body = graph.body(name);
  const widened = project(body, rows, gateAndUp, `${name}.widened`, options.accuracyLevel);
  const [gate, up] = [`${name}.gate`, `${name}.up`];
  body.nodeWithOutputs('Split', [widened], [gate, up], { attributes: { axis: -1 } });
  const activated = activateInBody(body, mlp.activation, gate, name);
  const gated = body.node('Mul', [activated, up], `${name}.gated`);
  body.output(project(body, gated, down, `${name}.narrowed`, options.accuracyLevel), 'float32', shape);
  return graph.node('If', [condition], `${name}.given`, {
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
