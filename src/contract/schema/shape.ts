/**
 * What a JSON schema says, as far as slmd can hold a model to it: every member is enforced, so that a
 * text that follows a shape is valid under the schema that it was read from.
 */
export type Shape =
  | { kind: 'any' }
  | { kind: 'null' }
  | { kind: 'boolean' }
  /** Both bounds belong to the range. */
  | { kind: 'integer'; min: number; max: number }
  | { kind: 'number'; min: Bound | null; max: Bound | null }
  /** Lengths in code points; both null for any length. */
  | { kind: 'string'; min: number; max: number | null }
  | { kind: 'pattern'; pattern: Pattern }
  | { kind: 'literals'; values: unknown[] }
  | { kind: 'array'; items: Shape; min: number; max: number | null }
  | { kind: 'tuple'; items: Shape[] }
  /** Nothing but these members, in this order. */
  | { kind: 'object'; members: Member[] }
  | { kind: 'map'; values: Shape }
  | { kind: 'union'; of: Shape[] }
  /** What stands at this JSON pointer of the schema. */
  | { kind: 'ref'; pointer: string };

export interface Member {
  name: string;
  shape: Shape;
  required: boolean;
}

export interface Bound {
  value: number;
  exclusive: boolean;
}

/** A regular expression that a whole text matches. */
export type Pattern =
  | { kind: 'characters'; ranges: CharacterRange[] }
  | { kind: 'sequence'; of: Pattern[] }
  | { kind: 'choice'; of: Pattern[] }
  | { kind: 'repeat'; of: Pattern; min: number; max: number | null };

/** First and last code point. */
export type CharacterRange = readonly [first: number, last: number];

/** A schema that was read whole. */
export interface ReadSchema {
  root: Shape;
  /** What `ref` points at, by JSON pointer. */
  definitions: ReadonlyMap<string, Shape>;
}

/** The root of a schema, as `$ref` and messages name it. */
export const rootPointer = '#';

/** Beyond these an integer is not the one that was written. */
export const integerDefault = 999_999_999_999_999;

/** What `json_object` asks for. */
export const anyObject: ReadSchema = {
  root: { kind: 'map', values: { kind: 'any' } },
  definitions: new Map(),
};
