import { SchemaRefusal } from './refusal.ts';
import type { ReadSchema, Shape } from './shape.ts';
import { typesOf } from './types-of.ts';

/**
 * Refuses definitions that no finite value follows, and those that come back to themselves without
 * anything written in between: a model that is held to one has no way out.
 *
 * @throws {SchemaRefusal} at the definition
 */
export function requireFinite({ definitions }: ReadSchema): void {
  for (const pointer of definitions.keys())
    if (returnsAtOnce(pointer, definitions))
      throw new SchemaRefusal(pointer, 'refers to itself and says nothing else');
  const finite = new Set<string>();
  let before: number;
  do {
    before = finite.size;
    for (const [pointer, shape] of definitions) if (canEnd(shape, finite)) finite.add(pointer);
  } while (finite.size > before);
  for (const pointer of definitions.keys())
    if (!finite.has(pointer)) throw new SchemaRefusal(pointer, 'asks for a value that has no end');
}

function returnsAtOnce(start: string, definitions: ReadonlyMap<string, Shape>): boolean {
  const seen = new Set<string>();
  const waiting = atOnce(definitions.get(start));
  for (let pointer = waiting.pop(); pointer !== undefined; pointer = waiting.pop()) {
    if (pointer === start) return true;
    if (seen.has(pointer)) continue;
    seen.add(pointer);
    waiting.push(...atOnce(definitions.get(pointer)));
  }
  return false;
}

/** The definitions that a value of this shape may be from its first character on. */
function atOnce(shape: Shape | undefined): string[] {
  if (shape?.kind === 'ref') return [shape.pointer];
  return shape?.kind === 'union' ? shape.of.flatMap(atOnce) : [];
}

function canEnd(shape: Shape, finite: ReadonlySet<string>): boolean {
  switch (shape.kind) {
    case 'ref':
      return finite.has(shape.pointer);
    case 'union':
      return shape.of.some((one) => canEnd(one, finite));
    case 'object':
      return shape.members.every((member) => !member.required || canEnd(member.shape, finite));
    case 'tuple':
      return shape.items.every((item) => canEnd(item, finite));
    case 'array':
      return shape.min === 0 || canEnd(shape.items, finite);
    default:
      return true;
  }
}

/** Whether it is certain that no value follows two of these shapes. */
export function areDisjoint(shapes: readonly Shape[]): boolean {
  return shapes.every((a, i) => shapes.slice(i + 1).every((b) => exclude(a, b)));
}

function exclude(a: Shape, b: Shape): boolean {
  // Definitions are still being read, so what a reference stands for is not known.
  const types = typesOf(a, () => null);
  if (!typesOf(b, () => null).some((type) => types.includes(type))) return true;
  if (a.kind === 'literals' && b.kind === 'literals') return !mayShare(a.values, b.values);
  if (a.kind !== 'object' || b.kind !== 'object') return false;
  // A member that tells them apart: required by both, with values that are not the same.
  return a.members.some((member) => {
    const other = b.members.find(({ name }) => name === member.name);
    return other !== undefined && member.required && other.required && exclude(member.shape, other.shape);
  });
}

/** Objects and arrays are not compared: two may be equal and not look it. */
function mayShare(a: readonly unknown[], b: readonly unknown[]): boolean {
  const isPlain = (value: unknown) => typeof value !== 'object' || value === null;
  return !a.every(isPlain) || !b.every(isPlain) || b.some((value) => a.includes(value));
}
