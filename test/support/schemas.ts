import { Ajv2020 } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';

type Schema = Record<string, unknown> | boolean;

/** An independent judge of what is valid under a schema, formats included. */
export function validatorOf(schema: unknown): (value: unknown) => boolean {
  const ajv = new Ajv2020({ strict: false, ownProperties: true });
  (addFormats as unknown as (ajv: Ajv2020) => void)(ajv);
  return ajv.compile(schema as Schema);
}

/** Schemas of everything that can be enforced, from a seed; some are refused, as no value follows them. */
export class RandomSchemas {
  readonly #random: () => number;

  constructor(random: () => number) {
    this.#random = random;
  }

  next(): Schema {
    const definitions = { one: this.#schema(2), two: this.#schema(1) };
    const schema = this.#schema(3);
    if (typeof schema === 'boolean') return schema;
    return { ...schema, $defs: definitions };
  }

  #schema(depth: number): Schema {
    const kinds = ['integer', 'number', 'string', 'pattern', 'format', 'enum', 'const', 'boolean', 'null'];
    const nested = [
      'object',
      'object',
      'object',
      'array',
      'array',
      'tuple',
      'map',
      'anyOf',
      'types',
      'ref',
      'any',
    ];
    switch (this.#pick(depth > 0 ? [...kinds, ...nested] : kinds)) {
      case 'integer':
        return { type: 'integer', ...this.#integerBounds() };
      case 'number':
        return { type: 'number', ...this.#numberBounds() };
      case 'string':
        return { type: 'string', ...this.#lengths() };
      case 'pattern':
        return { type: 'string', pattern: this.#pick(patterns) };
      case 'format':
        return { type: 'string', format: this.#pick(formats) };
      case 'enum':
        return { enum: this.#some(1, 4, () => this.#pick(values)) };
      case 'const':
        return { const: this.#pick(values), title: 'a constant' };
      case 'boolean':
        return { type: 'boolean', description: 'yes or no' };
      case 'null':
        return { type: 'null' };
      case 'object':
        return this.#object(depth);
      case 'array':
        return { type: 'array', items: this.#schema(depth - 1), ...this.#counts() };
      case 'tuple':
        return { type: 'array', prefixItems: this.#some(1, 3, () => this.#schema(depth - 1)), items: false };
      case 'map':
        return { type: 'object', additionalProperties: this.#schema(depth - 1) };
      case 'anyOf':
        return { anyOf: this.#some(1, 3, () => this.#schema(depth - 1)) };
      case 'types':
        return { type: ['string', 'null', 'integer'], ...this.#lengths(), ...this.#integerBounds() };
      case 'ref':
        return { $ref: this.#pick(['#', '#/$defs/one', '#/$defs/two']) };
      default:
        return {};
    }
  }

  #object(depth: number): Schema {
    const names = [...new Set(this.#some(0, 4, () => this.#pick(memberNames)))];
    const properties = Object.fromEntries(names.map((name) => [name, this.#schema(depth - 1)]));
    const required = names.filter(() => this.#random() < 0.5);
    return { type: 'object', properties, required, additionalProperties: this.#random() < 0.5 };
  }

  #integerBounds(): object {
    const low = this.#below(2000) - 1000;
    const high = low + this.#below(3000);
    return this.#pick([
      {},
      { minimum: low },
      { exclusiveMaximum: high },
      { minimum: low, maximum: high },
      { exclusiveMinimum: low - 1, maximum: high + 0.5 },
    ]);
  }

  #numberBounds(): object {
    const low = (this.#below(200_000) - 100_000) / 10 ** this.#below(7);
    const low6 = Number(low.toFixed(6));
    const high = Number((low6 + this.#below(100_000) / 10 ** this.#below(6) + 0.001).toFixed(6));
    return this.#pick([
      {},
      { minimum: low6, maximum: high },
      { exclusiveMinimum: low6, exclusiveMaximum: high },
      { maximum: high },
      { exclusiveMinimum: low6 },
    ]);
  }

  #lengths(): object {
    const min = this.#below(4);
    return this.#pick([
      {},
      { minLength: min },
      { maxLength: min + 3 },
      { minLength: min, maxLength: min + 5 },
    ]);
  }

  #counts(): object {
    const min = this.#below(3);
    return this.#pick([{}, { minItems: min }, { maxItems: min }, { minItems: min, maxItems: min + 2 }]);
  }

  #some<T>(min: number, max: number, make: () => T): T[] {
    return Array.from({ length: min + this.#below(max - min + 1) }, make);
  }

  #pick<T>(from: readonly T[]): T {
    return from[this.#below(from.length)] as T;
  }

  #below(bound: number): number {
    return Math.floor(this.#random() * bound);
  }
}

const formats = ['date', 'time', 'date-time', 'uuid', 'ipv4', 'email'];

const patterns = [
  '^[a-z]{3}-\\d{4}$',
  'on|off|auto',
  '^(?:\\+|-)?[0-9]+(\\.[0-9]{2})?$',
  '^[^"a-z]{2,5}$',
  '^.{1,4}$',
  '^"\\\\[\\t]\\/$',
  '^[äöü€😀]+x?$',
  '^\\S\\s\\w*?\\W\\D$',
  '^([ab]|c{2}){2,3}$',
];

const values = [
  '',
  'on',
  'a"b\\c\n',
  '€😀',
  '\u007f\u2028',
  0,
  -1,
  3.25,
  1e21,
  1e-7,
  true,
  null,
  [1, 'x'],
  { a: { b: [] } },
];

const memberNames = ['a', 'room', 'naïve "name"', 'constructor', 'x/y~z', '', '😀'];
