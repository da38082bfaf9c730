import { parse } from 'yaml';
import * as z from 'zod';
import { configSchema } from './schema.ts';

export interface Problem {
  /** A file's name, a variable's, `device profile` or `default`. */
  source: string;
  /** Dotted path of the setting, empty for the whole. */
  path: string;
  message: string;
}

/** Of another meaning: where the file is. */
const reserved = new Set(['SLMD_CONFIG']);

/** A setting in the file at `mqtt.url` is `SLMD_MQTT_URL` in the environment. */
export function readEnvironment(env: NodeJS.ProcessEnv): { settings: Settings; problems: Problem[] } {
  const settings: Settings = {};
  const problems: Problem[] = [];
  for (const [name, text] of Object.entries(env)) {
    if (!name.startsWith('SLMD_') || reserved.has(name) || text === undefined) continue;
    const leaf = leaves.get(name);
    if (leaf === undefined) problems.push({ source: name, path: '', message: 'no setting has this name' });
    else setPath(settings, leaf.path, leaf.text ? text : scalar(text));
  }
  return { settings, problems };
}

/** What this process hands on to an slmd that it starts and tells everything itself: no setting of its own. */
export function withoutSettings(env: NodeJS.ProcessEnv = process.env): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('SLMD_')));
}

/** The variable that sets a path, for messages and documentation. */
export function variableOf(path: readonly PropertyKey[]): string {
  return `SLMD_${path.map(String).join('_').toUpperCase()}`;
}

export type Settings = { [name: string]: unknown };

interface Leaf {
  path: string[];
  /** Whether the setting is a text: then `123` is not a number, and the protocol `5.0` is not 5. */
  text: boolean;
}

const leaves = new Map<string, Leaf>(leavesOf(configSchema, []).map((leaf) => [variableOf(leaf.path), leaf]));

function leavesOf(schema: z.ZodType, path: string[]): Leaf[] {
  const inner = unwrap(schema);
  if (!(inner instanceof z.ZodObject))
    return [{ path, text: inner instanceof z.ZodString || inner instanceof z.ZodEnum }];
  return Object.entries(inner.shape).flatMap(([name, field]) =>
    leavesOf(field as z.ZodType, [...path, name]),
  );
}

function unwrap(schema: z.ZodType): z.ZodType {
  if (schema instanceof z.ZodDefault || schema instanceof z.ZodNullable || schema instanceof z.ZodPrefault)
    return unwrap(schema.unwrap() as z.ZodType);
  return schema;
}

/** Numbers, booleans, null and lists are written as in YAML. */
function scalar(text: string): unknown {
  try {
    return parse(text);
  } catch {
    return text;
  }
}

function setPath(target: Settings, path: readonly string[], value: unknown): void {
  const [name, ...rest] = path as [string, ...string[]];
  if (rest.length === 0) {
    target[name] = value;
    return;
  }
  target[name] ??= {};
  setPath(target[name] as Settings, rest, value);
}
