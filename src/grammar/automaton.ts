import type { Pattern } from '../contract/schema/shape.ts';
import { SlmdError } from '../lib/errors.ts';
import { utf8Ranges } from './utf8.ts';

/** A state of a deterministic automaton over bytes. */
export interface State {
  accepting: boolean;
  /** No two steps share a byte. */
  steps: { bytes: (readonly [first: number, last: number])[]; to: State }[];
}

/** Each state costs a look at the whole vocabulary; what has more is a program, not a shape. */
const statesMax = 8192;

interface Node {
  edges: { first: number; last: number; to: number }[];
  empty: number[];
}

/**
 * The automaton that accepts the UTF-8 of the texts that a pattern matches whole.
 *
 * @throws {SlmdError} `schema_unsupported` when it has too many states
 */
export function automatonOf(pattern: Pattern): State {
  const nodes: Node[] = [];
  const end = newNode(nodes);
  const start = build(pattern, end, nodes);
  return determinize(nodes, start, end);
}

/** Adds nodes that match the pattern and then go on at `next`; returns where they begin. */
function build(pattern: Pattern, next: number, nodes: Node[]): number {
  switch (pattern.kind) {
    case 'characters':
      return buildCharacters(pattern.ranges, next, nodes);
    case 'sequence':
      return pattern.of.reduceRight((after, one) => build(one, after, nodes), next);
    case 'choice': {
      const start = newNode(nodes);
      for (const one of pattern.of) nodes[start]!.empty.push(build(one, next, nodes));
      return start;
    }
    case 'repeat':
      return buildRepeat(pattern, next, nodes);
  }
}

function buildRepeat(
  { of, min, max }: Extract<Pattern, { kind: 'repeat' }>,
  next: number,
  nodes: Node[],
): number {
  let start = next;
  if (max === null) {
    start = newNode(nodes);
    nodes[start]!.empty.push(next, build(of, start, nodes));
  }
  for (let i = min; i < (max ?? 0); i++) {
    const optional = newNode(nodes);
    nodes[optional]!.empty.push(next, build(of, start, nodes));
    start = optional;
  }
  for (let i = 0; i < min; i++) start = build(of, start, nodes);
  return start;
}

function buildCharacters(
  ranges: readonly (readonly [number, number])[],
  next: number,
  nodes: Node[],
): number {
  const start = newNode(nodes);
  for (const [from, to] of ranges)
    for (const bytes of utf8Ranges(from, to)) {
      let after = next;
      for (const [first, last] of bytes.slice(1).reverse()) {
        const node = newNode(nodes);
        nodes[node]!.edges.push({ first, last, to: after });
        after = node;
      }
      nodes[start]!.edges.push({ first: bytes[0]![0], last: bytes[0]![1], to: after });
    }
  return start;
}

function newNode(nodes: Node[]): number {
  return nodes.push({ edges: [], empty: [] }) - 1;
}

/** Rabin and Scott's subset construction. */
function determinize(nodes: readonly Node[], start: number, end: number): State {
  const states = new Map<string, State>();
  const waiting: [State, number[]][] = [];
  const stateOf = (from: readonly number[]): State => {
    const set = closure(nodes, from);
    const key = set.join();
    const known = states.get(key);
    if (known !== undefined) return known;
    if (states.size >= statesMax)
      throw new SlmdError('schema_unsupported', `a text of the schema needs more than ${statesMax} states`);
    const state: State = { accepting: set.includes(end), steps: [] };
    states.set(key, state);
    waiting.push([state, set]);
    return state;
  };
  const first = stateOf([start]);
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const [state, set] = next;
    state.steps = stepsFrom(set, nodes, stateOf);
  }
  return first;
}

function stepsFrom(
  set: readonly number[],
  nodes: readonly Node[],
  stateOf: (nodes: number[]) => State,
): State['steps'] {
  const edges = set.flatMap((node) => nodes[node]!.edges);
  const borders = [...new Set(edges.flatMap(({ first, last }) => [first, last + 1]))].sort((a, b) => a - b);
  const steps = new Map<State, [number, number][]>();
  for (const [i, first] of borders.entries()) {
    const last = (borders[i + 1] ?? 0x100) - 1;
    const targets = edges.filter((edge) => edge.first <= first && last <= edge.last).map(({ to }) => to);
    if (targets.length === 0) continue;
    const to = stateOf(targets);
    steps.set(to, [...(steps.get(to) ?? []), [first, last]]);
  }
  return [...steps].map(([to, bytes]) => ({ bytes, to }));
}

/** The nodes that are reached without a byte, in order. */
function closure(nodes: readonly Node[], from: readonly number[]): number[] {
  const reached = new Set(from);
  for (const node of reached) for (const next of nodes[node]!.empty) reached.add(next);
  return [...reached].sort((a, b) => a - b);
}
