/** Settings as a tree, before they are checked: what is in it, and one over another. */

import type { Settings } from './environment.ts';

/** Later settings win, name by name; lists are replaced whole. */
export function merge(base: Settings, over: Settings): Settings {
  const merged = { ...base };
  for (const [name, value] of Object.entries(over)) {
    const below = merged[name];
    merged[name] = isMapping(below) && isMapping(value) ? merge(below, value) : value;
  }
  return merged;
}

/** Each setting that is there, with its path. */
export function leavesOf(settings: Settings): [path: string[], value: unknown][] {
  return Object.entries(settings).flatMap(([name, value]): [string[], unknown][] =>
    isMapping(value) ? leavesOf(value).map(([path, leaf]) => [[name, ...path], leaf]) : [[[name], value]],
  );
}

/** Whether a path leads to a value in these settings, or past one, as into an item of a list. */
export function isSet(settings: Settings, path: PropertyKey[]): boolean {
  let at: unknown = settings;
  for (const name of path) {
    if (!isMapping(at)) return at !== undefined;
    at = at[String(name)];
  }
  return at !== undefined;
}

export function isMapping(value: unknown): value is Settings {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
