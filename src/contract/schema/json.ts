import { SchemaRefusal } from './refusal.ts';

/** A JSON object, of which nothing is known yet. */
export type Json = Record<string, unknown>;

export function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** How deep lists and objects stand in one another. Not recursive: `JSON.parse` reads any depth. */
export function nestingOf(value: unknown): number {
  let depth = 0;
  for (let level = [value]; level.some(isNest); depth++)
    level = level.filter(isNest).flatMap((nest) => Object.values(nest));
  return depth;
}

/** `JSON.parse` reads 1e400 as infinity, which nobody can write. */
export function isFiniteThroughout(value: unknown): boolean {
  if (typeof value === 'number') return Number.isFinite(value);
  return !isNest(value) || Object.values(value).every(isFiniteThroughout);
}

function isNest(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}

export function countAt(schema: Json, key: string, path: string, max: number): number | null {
  const value = schema[key];
  if (value === undefined) return null;
  if (!Number.isInteger(value) || (value as number) < 0)
    throw new SchemaRefusal(`${path}/${key}`, 'is not a count');
  if ((value as number) > max) throw new SchemaRefusal(`${path}/${key}`, `is enforced up to ${max}`);
  return value as number;
}

export function listAt(schema: Json, key: string, path: string): unknown[] {
  const value = schema[key];
  if (Array.isArray(value)) return value;
  throw new SchemaRefusal(`${path}/${key}`, 'is not a list');
}
