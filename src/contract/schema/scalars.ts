import { schemaBounds } from './bounds.ts';
import { formatPatterns } from './formats.ts';
import { countAt, type Json } from './json.ts';
import { readPattern } from './pattern.ts';
import { SchemaRefusal } from './refusal.ts';
import { type Bound, integerDefault, type Shape } from './shape.ts';

export function integerShape(schema: Json, path: string): Shape {
  const low = boundAt(schema, 'minimum', 'exclusiveMinimum', path, Math.max);
  const high = boundAt(schema, 'maximum', 'exclusiveMaximum', path, Math.min);
  const min = low === null ? -integerDefault : Math.ceil(low.value) + stepOf(low);
  const max = high === null ? integerDefault : Math.floor(high.value) - stepOf(high);
  if (!Number.isSafeInteger(min) || !Number.isSafeInteger(max))
    throw new SchemaRefusal(path, 'has a bound that is not a safe integer');
  if (min > max) throw new SchemaRefusal(path, 'allows no integer');
  return { kind: 'integer', min, max };
}

/** An exclusive bound that is no integer excludes none. */
function stepOf({ value, exclusive }: Bound): number {
  return exclusive && Number.isInteger(value) ? 1 : 0;
}

export function numberShape(schema: Json, path: string): Shape {
  const min = boundAt(schema, 'minimum', 'exclusiveMinimum', path, Math.max);
  const max = boundAt(schema, 'maximum', 'exclusiveMaximum', path, Math.min);
  for (const bound of [min, max]) {
    if (bound === null) continue;
    const decimals = /^-?\d+(?:\.(\d+))?$/.exec(String(bound.value));
    if (
      decimals === null ||
      Math.abs(bound.value) >= schemaBounds.number_max ||
      (decimals[1]?.length ?? 0) > schemaBounds.decimals_max
    )
      throw new SchemaRefusal(
        path,
        `has a bound of ${schemaBounds.number_max} or more, or one with more than ${schemaBounds.decimals_max} decimals`,
      );
  }
  if (min !== null && max !== null && stepsBetween(min, max) < 0)
    throw new SchemaRefusal(path, `allows no number with ${schemaBounds.decimals_max} decimals`);
  return { kind: 'number', min, max };
}

/** Numbers are written in steps of the last decimal: how many steps there are from the first to the last. */
function stepsBetween(min: Bound, max: Bound): number {
  const step = 10 ** schemaBounds.decimals_max;
  const excluded = Number(min.exclusive) + Number(max.exclusive);
  return Math.round(max.value * step) - Math.round(min.value * step) - excluded;
}

function boundAt(
  schema: Json,
  inclusiveKey: string,
  exclusiveKey: string,
  path: string,
  tighter: (a: number, b: number) => number,
): Bound | null {
  const inclusive = numberAt(schema, inclusiveKey, path);
  const exclusive = numberAt(schema, exclusiveKey, path);
  if (inclusive === null && exclusive === null) return null;
  if (inclusive === null) return { value: exclusive ?? 0, exclusive: true };
  if (exclusive === null) return { value: inclusive, exclusive: false };
  return { value: tighter(inclusive, exclusive), exclusive: tighter(inclusive, exclusive) === exclusive };
}

function numberAt(schema: Json, key: string, path: string): number | null {
  const value = schema[key];
  if (value === undefined) return null;
  if (typeof value === 'number' && Number.isFinite(value)) return value;
  throw new SchemaRefusal(`${path}/${key}`, 'is not a number');
}

export function stringShape(schema: Json, path: string): Shape {
  const min = countAt(schema, 'minLength', path, schemaBounds.repeat_max);
  const max = countAt(schema, 'maxLength', path, schemaBounds.repeat_max);
  if (max !== null && (min ?? 0) > max)
    throw new SchemaRefusal(`${path}/maxLength`, 'is less than minLength');
  const { pattern, format } = schema;
  if (pattern === undefined && format === undefined) return { kind: 'string', min: min ?? 0, max };
  if ([pattern, format, min ?? max ?? undefined].filter((given) => given !== undefined).length > 1)
    throw new SchemaRefusal(path, 'one of pattern, format and a length can be enforced, not two');
  if (pattern !== undefined) {
    if (typeof pattern !== 'string') throw new SchemaRefusal(`${path}/pattern`, 'is not text');
    return { kind: 'pattern', pattern: readPattern(pattern, `${path}/pattern`) };
  }
  const source =
    typeof format === 'string' && Object.hasOwn(formatPatterns, format) && formatPatterns[format];
  if (!source)
    throw new SchemaRefusal(
      `${path}/format`,
      `cannot be enforced; these can: ${Object.keys(formatPatterns).join(', ')}`,
    );
  return { kind: 'pattern', pattern: readPattern(source, `${path}/format`) };
}
