import { schemaBounds } from './bounds.ts';
import { countAt, isFiniteThroughout, isObject, type Json, listAt, nestingOf } from './json.ts';
import { resolve } from './pointer.ts';
import { SchemaRefusal } from './refusal.ts';
import { areDisjoint, requireFinite } from './satisfiable.ts';
import { integerShape, numberShape, stringShape } from './scalars.ts';
import { type ReadSchema, rootPointer, type Shape } from './shape.ts';

/** They say something to people and nothing of the value. */
const annotations = [
  '$schema',
  '$comment',
  'title',
  'description',
  'default',
  'examples',
  'deprecated',
  'readOnly',
  'writeOnly',
];

/** What else may stand beside a `type`; whatever is not here is refused by name. */
const keywordsOf: Record<string, readonly string[]> = {
  null: [],
  boolean: [],
  integer: ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum'],
  number: ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum'],
  string: ['minLength', 'maxLength', 'pattern', 'format'],
  array: ['items', 'prefixItems', 'minItems', 'maxItems'],
  object: ['properties', 'required', 'additionalProperties'],
};

/**
 * Reads a JSON schema into what can be enforced, or says what cannot and where. Nothing is left out in
 * silence: a keyword is enforced, an annotation, or the reason for a refusal.
 */
export function readSchema(schema: unknown): ReadSchema | { path: string; reason: string } {
  try {
    return new SchemaReader(schema).read();
  } catch (thrown) {
    if (thrown instanceof SchemaRefusal) return { path: thrown.path, reason: thrown.message };
    throw thrown;
  }
}

class SchemaReader {
  readonly #root: unknown;
  readonly #definitions = new Map<string, Shape>();
  readonly #waiting: string[] = [];
  #entries = 0;

  constructor(root: unknown) {
    this.#root = root;
  }

  read(): ReadSchema {
    if (nestingOf(this.#root) > schemaBounds.nesting_max)
      throw new SchemaRefusal(rootPointer, `nests deeper than ${schemaBounds.nesting_max} lists and objects`);
    const root = this.#shape(this.#root, rootPointer, 0);
    this.#definitions.set(rootPointer, root);
    for (let pointer = this.#waiting.pop(); pointer !== undefined; pointer = this.#waiting.pop()) {
      if (this.#definitions.has(pointer)) continue;
      this.#definitions.set(pointer, this.#shape(resolve(this.#root, pointer), pointer, 0));
    }
    const read = { root, definitions: this.#definitions };
    requireFinite(read);
    return read;
  }

  #shape(schema: unknown, path: string, depth: number): Shape {
    if (depth > schemaBounds.depth_max)
      throw new SchemaRefusal(path, `nests deeper than ${schemaBounds.depth_max} schemas`);
    if (schema === true) return { kind: 'any' };
    if (schema === false) throw new SchemaRefusal(path, 'false allows no value');
    if (!isObject(schema)) throw new SchemaRefusal(path, 'is not a schema');
    const keys = Object.keys(schema).filter((key) => !isAnnotation(key, path));
    if (keys.length === 0) return { kind: 'any' };
    const decisive = ['$ref', 'const', 'enum', 'anyOf', 'oneOf', 'allOf'].find((key) => key in schema);
    if (decisive !== undefined) return this.#decided(decisive, schema, keys, path, depth);
    if ('type' in schema) return this.#typed(schema, keys, path, depth);
    throw new SchemaRefusal(`${path}/${escaped(keys[0] ?? '')}`, 'needs a type beside it to be enforced');
  }

  /** One of these says it all: what else stands beside it would have to be enforced together with it. */
  #decided(key: string, schema: Json, keys: string[], path: string, depth: number): Shape {
    const isValue = key === 'const' || key === 'enum';
    refuseOthers(keys, isValue ? [key, 'type'] : [key], path);
    if (key === '$ref') return this.#reference(schema.$ref, `${path}/$ref`);
    if (!isValue) return this.#combined(schema, key, path, depth);
    return this.#literals(key === 'const' ? [schema.const] : listAt(schema, key, path), schema.type, path);
  }

  #reference(pointer: unknown, path: string): Shape {
    if (typeof pointer !== 'string' || !/^#($|\/)/.test(pointer))
      throw new SchemaRefusal(path, 'points outside the schema');
    if (resolve(this.#root, pointer) === undefined) throw new SchemaRefusal(path, 'points at nothing');
    this.#waiting.push(pointer);
    return { kind: 'ref', pointer };
  }

  #literals(values: unknown[], type: unknown, path: string): Shape {
    const types = type === undefined ? null : typesAt(type, path);
    if (values.length === 0) throw new SchemaRefusal(path, 'allows no value');
    for (const value of values) {
      this.#count(path);
      if (types !== null && !types.some((name) => isOf(name, value)))
        throw new SchemaRefusal(path, 'has a value that is not of its type');
      if (!isFiniteThroughout(value))
        throw new SchemaRefusal(path, 'has a number that is too large to be written');
    }
    return { kind: 'literals', values };
  }

  #combined(schema: Json, key: string, path: string, depth: number): Shape {
    const list = listAt(schema, key, path);
    if (key === 'allOf' && list.length > 1)
      throw new SchemaRefusal(`${path}/allOf`, 'is enforced with one schema only');
    const of = list.map((item, i) => this.#shape(item, `${path}/${key}/${i}`, depth + 1));
    const [first] = of;
    if (first === undefined) throw new SchemaRefusal(`${path}/${key}`, 'is empty');
    if (of.length === 1) return first;
    if (key === 'oneOf' && !areDisjoint(of))
      throw new SchemaRefusal(
        `${path}/oneOf`,
        'is enforced where no value can match two: by type, or by a required member with a const',
      );
    return { kind: 'union', of };
  }

  #typed(schema: Json, keys: string[], path: string, depth: number): Shape {
    const types = typesAt(schema.type, path);
    refuseOthers(keys, ['type', ...types.flatMap((type) => keywordsOf[type] ?? [])], path);
    const of = types.map((type) => this.#ofType(type, schema, path, depth));
    return of.length === 1 ? of[0]! : { kind: 'union', of };
  }

  #ofType(type: string, schema: Json, path: string, depth: number): Shape {
    switch (type) {
      case 'integer':
        return integerShape(schema, path);
      case 'number':
        return numberShape(schema, path);
      case 'string':
        return stringShape(schema, path);
      case 'array':
        return this.#array(schema, path, depth);
      case 'object':
        return this.#object(schema, path, depth);
      default:
        return { kind: type as 'null' | 'boolean' };
    }
  }

  #array(schema: Json, path: string, depth: number): Shape {
    const min = countAt(schema, 'minItems', path, schemaBounds.items_max) ?? 0;
    const max = countAt(schema, 'maxItems', path, schemaBounds.items_max);
    if (max !== null && min > max) throw new SchemaRefusal(`${path}/maxItems`, 'is less than minItems');
    if (!('prefixItems' in schema)) {
      if (schema.items === false) return emptyArray(min, path);
      const items = this.#shape(schema.items ?? true, `${path}/items`, depth + 1);
      return { kind: 'array', items, min, max };
    }
    const list = listAt(schema, 'prefixItems', path);
    if ('items' in schema && schema.items !== false)
      throw new SchemaRefusal(`${path}/items`, 'is enforced beside prefixItems only where it is false');
    if (min > list.length || (max ?? list.length) < list.length)
      throw new SchemaRefusal(`${path}/prefixItems`, 'does not have as many items as are asked for');
    for (const _ of list) this.#count(path);
    const items = list.map((item, i) => this.#shape(item, `${path}/prefixItems/${i}`, depth + 1));
    return { kind: 'tuple', items };
  }

  #object(schema: Json, path: string, depth: number): Shape {
    const properties = schema.properties ?? {};
    if (!isObject(properties)) throw new SchemaRefusal(`${path}/properties`, 'is not an object');
    const required = namesAt(schema, path);
    const names = Object.keys(properties);
    const unknown = required.findIndex((name) => !names.includes(name));
    if (unknown !== -1)
      throw new SchemaRefusal(`${path}/required/${unknown}`, 'names a member that properties does not have');
    const members = names.map((name) => {
      this.#count(path);
      const shape = this.#shape(properties[name], `${path}/properties/${escaped(name)}`, depth + 1);
      return { name, shape, required: required.includes(name) };
    });
    const more = schema.additionalProperties ?? true;
    if (names.length > 0) {
      // A model that may invent a member may write one a second time, and the last one counts.
      if (typeof more !== 'boolean')
        throw new SchemaRefusal(`${path}/additionalProperties`, 'is enforced only without properties');
      return { kind: 'object', members };
    }
    if (more === false) return { kind: 'object', members };
    return { kind: 'map', values: this.#shape(more, `${path}/additionalProperties`, depth + 1) };
  }

  #count(path: string): void {
    if (++this.#entries > schemaBounds.entries_max)
      throw new SchemaRefusal(
        path,
        `the schema has more than ${schemaBounds.entries_max} members and values`,
      );
  }
}

/** Members that hold definitions are read where they are pointed at. */
function isAnnotation(key: string, path: string): boolean {
  if (annotations.includes(key)) return true;
  return path === rootPointer && ['$defs', 'definitions', '$id'].includes(key);
}

function refuseOthers(keys: readonly string[], allowed: readonly string[], path: string): void {
  const other = keys.find((key) => !allowed.includes(key));
  if (other !== undefined) throw new SchemaRefusal(`${path}/${escaped(other)}`, 'cannot be enforced here');
}

function typesAt(type: unknown, path: string): string[] {
  const types = [type].flat();
  if (types.length > 0 && types.every((name) => typeof name === 'string' && Object.hasOwn(keywordsOf, name)))
    return types as string[];
  throw new SchemaRefusal(`${path}/type`, 'is not a type of JSON');
}

function isOf(type: string, value: unknown): boolean {
  if (type === 'null') return value === null;
  if (type === 'array') return Array.isArray(value);
  if (type === 'object') return isObject(value);
  if (type === 'integer') return Number.isInteger(value);
  return typeof value === type;
}

function emptyArray(min: number, path: string): Shape {
  if (min > 0) throw new SchemaRefusal(`${path}/items`, 'allows no array of minItems');
  return { kind: 'tuple', items: [] };
}

function namesAt(schema: Json, path: string): string[] {
  if (schema.required === undefined) return [];
  const names = listAt(schema, 'required', path);
  if (names.every((name) => typeof name === 'string')) return names;
  throw new SchemaRefusal(`${path}/required`, 'is not a list of names');
}

/** A member's name as a part of a JSON pointer (RFC 6901), and not longer than a message should be. */
function escaped(name: string): string {
  return name.slice(0, 64).replaceAll('~', '~0').replaceAll('/', '~1');
}
