import type { Shape } from './shape.ts';

type Reference = Extract<Shape, { kind: 'ref' }>;

const allTypes: readonly string[] = ['null', 'boolean', 'number', 'string', 'array', 'object'];

/**
 * The types of JSON that a value of this shape may have.
 *
 * @param target what a reference stands for; null where that is not known, and then it may be anything
 */
export function typesOf(shape: Shape, target: (reference: Reference) => Shape | null): readonly string[] {
  switch (shape.kind) {
    case 'any':
      return allTypes;
    case 'ref': {
      const known = target(shape);
      return known === null ? allTypes : typesOf(known, target);
    }
    case 'union':
      return shape.of.flatMap((one) => typesOf(one, target));
    case 'literals':
      return shape.values.map((value) =>
        value === null ? 'null' : Array.isArray(value) ? 'array' : typeof value,
      );
    case 'integer':
      return ['number'];
    case 'pattern':
      return ['string'];
    case 'tuple':
      return ['array'];
    case 'map':
      return ['object'];
    default:
      return [shape.kind];
  }
}
