import type { Shape } from '../contract/schema/shape.ts';
import { typesOf } from '../contract/schema/types-of.ts';

/** The alternatives without words that a text of another one may be anyway; some are told apart only so. */
export function withoutCovered(of: readonly Shape[]): readonly Shape[] {
  const isCovered = (value: unknown) =>
    typeof value === 'string' &&
    JSON.stringify(value) === `"${value}"` &&
    of.some(
      (one) =>
        one.kind === 'string' && one.min <= lengthOf(value) && lengthOf(value) <= (one.max ?? Infinity),
    );
  return of.flatMap((one): Shape[] => {
    if (one.kind !== 'literals') return [one];
    const values = one.values.filter((value) => !isCovered(value));
    return values.length === 0 ? [] : [{ ...one, values }];
  });
}

/** In code points, as a schema counts. */
function lengthOf(value: string): number {
  return [...value].length;
}

/**
 * Whether two alternatives of a union are told apart before either opens a text of bounded length: by their
 * type, or, of two objects, by the first member, which both require. What is uncertain is not.
 */
export function beginApart(a: Shape, b: Shape, definitions: ReadonlyMap<string, Shape>): boolean {
  const [one, other] = [resolved(a, definitions), resolved(b, definitions)];
  const target = (shape: Shape) => resolved(shape, definitions);
  const types = typesOf(one, target);
  if (!typesOf(other, target).some((type) => types.includes(type))) return true;
  if (one.kind === 'literals' && other.kind === 'literals') return !shareText(one.values, other.values);
  if (one.kind !== 'object' || other.kind !== 'object') return false;
  const [first, second] = [one.members[0], other.members[0]];
  if (!first?.required || !second?.required) return false;
  return first.name !== second.name || beginApart(first.shape, second.shape, definitions);
}

function shareText(a: readonly unknown[], b: readonly unknown[]): boolean {
  const texts = new Set(a.map((value) => JSON.stringify(value)));
  return b.some((value) => texts.has(JSON.stringify(value)));
}

/** A schema that was read has no definition that is itself and nothing else. */
function resolved(shape: Shape, definitions: ReadonlyMap<string, Shape>): Shape {
  if (shape.kind !== 'ref') return shape;
  const target = definitions.get(shape.pointer);
  if (target === undefined) throw new Error(`a schema without its definition ${shape.pointer}`);
  return resolved(target, definitions);
}
