import type { GraphBuilder } from '../onnx/graph.ts';
import type { ExpertMlp } from './architecture.ts';
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
  const used = Array.from({ length: mlp.experts }, (_, expert) => `${name}.${expert}.used`);
  graph.nodeWithOutputs('Split', [routes.used], used, { attributes: { axis: 0 } });
  for (const [expert, condition] of used.entries()) {
    const matrices = await expertMatrices(blocks, mlp, layer, expert);
    sum = addExpert(
      blocks,
      { mlp, name: `${name}.${expert}`, expert, condition, rows, sum },
      routes,
      matrices,
    );
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
  expert: number;
  /** Whether any token takes this expert. */
  condition: string;
  /** All tokens, [tokens, hidden]. */
  rows: string;
  /** What the experts before this one add up to, [tokens, hidden]. */
  sum: string;
}

/** The sum with what this expert adds to the rows of its tokens; the sum as it is where it has none. */
function addExpert(
  { graph, architecture, options }: Blocks,
  { mlp, name, expert, condition, rows, sum }: ExpertNodes,
  { shares }: Routes,
  { gateAndUp, down }: ExpertMatrices,
): string {
  const shape = ['tokens', architecture.hiddenSize];
  const otherwise = graph.body(`${name}.otherwise`);
  otherwise.output(otherwise.node('Identity', [sum], `${name}.unchanged`), 'float32', shape);
  const body = graph.body(name);
  const last = int64(body, `${name}.last`, [-1]);
  const own = body.constant(`${name}.index`, 'int64', [], BigInt64Array.of(BigInt(expert)));
  const column = body.node('Gather', [shares, own], `${name}.shares`, { attributes: { axis: 1 } });
  const places = body.node('NonZero', [column], `${name}.places`);
  const tokens = body.node('Reshape', [places, last], `${name}.tokens`);
  const input = body.node('Gather', [rows, tokens], `${name}.input`, { attributes: { axis: 0 } });
  const widened = project(body, input, gateAndUp, `${name}.widened`, options.accuracyLevel);
  const [gate, up] = [`${name}.gate`, `${name}.up`];
  body.nodeWithOutputs('Split', [widened], [gate, up], { attributes: { axis: -1 } });
  const activated = activate(body, mlp.activation, gate, name);
  const gated = body.node('Mul', [activated, up], `${name}.gated`);
  const narrowed = project(body, gated, down, `${name}.narrowed`, options.accuracyLevel);
  const share = body.node('Gather', [column, tokens], `${name}.share`);
  const weighed = body.node(
    'Mul',
    [narrowed, body.node('Unsqueeze', [share, last], `${name}.share.column`)],
    `${name}.weighed`,
  );
  const at = body.node('Unsqueeze', [tokens, last], `${name}.at`);
  const added = body.node('ScatterND', [sum, at, weighed], `${name}.added`, {
    attributes: { reduction: 'add' },
  });
  body.output(added, 'float32', shape);
  return graph.node('If', [condition], `${name}.sum`, {
    attributes: { then_branch: { body }, else_branch: { body: otherwise } },
  });
}

function int64(graph: GraphBuilder, name: string, values: number[]): string {
  return graph.constant(name, 'int64', [values.length], BigInt64Array.from(values, BigInt));
}
