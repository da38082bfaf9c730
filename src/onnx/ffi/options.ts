import type { InferenceSession } from 'onnxruntime-common';
import type { Pointer } from './api.ts';
import { check } from './errors.ts';
import type { Library } from './library.ts';

export type SessionOptions = InferenceSession.SessionOptions;

export interface RunOptions extends InferenceSession.RunOptions {
  /** Ends the run at the next node; it rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
}

const optimizationLevels = { disabled: 0, basic: 1, extended: 2, layout: 3, all: 99 };
const executionModes = { sequential: 0, parallel: 1 };

/**
 * Makes an `OrtSessionOptions`; the caller releases it.
 *
 * @throws {TypeError} for an option that would be ignored
 */
export function makeSessionOptions(library: Library, options: SessionOptions): Pointer {
  const { api } = library;
  for (const name of ['externalData', 'preferredOutputLocation', 'enableGraphCapture'] as const) {
    if (options[name] !== undefined) throw new TypeError(`the session option ${name} is not supported`);
  }
  const out = new BigUint64Array(1);
  check(library, api.CreateSessionOptions(out));
  const made = out[0]!;
  try {
    applySessionOptions(library, made, options);
  } catch (thrown) {
    api.ReleaseSessionOptions(made);
    throw thrown;
  }
  return made;
}

function applySessionOptions(library: Library, made: Pointer, options: SessionOptions): void {
  const { api } = library;
  const apply = <Value>(value: Value | undefined, set: (value: Value) => Pointer | null) => {
    if (value !== undefined) check(library, set(value));
  };
  apply(options.intraOpNumThreads, (count) => api.SetIntraOpNumThreads(made, count));
  apply(options.interOpNumThreads, (count) => api.SetInterOpNumThreads(made, count));
  apply(options.graphOptimizationLevel, (level) =>
    api.SetSessionGraphOptimizationLevel(made, known(optimizationLevels, level, 'graphOptimizationLevel')),
  );
  apply(options.executionMode, (mode) =>
    api.SetSessionExecutionMode(made, known(executionModes, mode, 'executionMode')),
  );
  if (options.enableCpuMemArena === false) check(library, api.DisableCpuMemArena(made));
  if (options.enableMemPattern === false) check(library, api.DisableMemPattern(made));
  if (options.enableProfiling === true)
    check(library, api.EnableProfiling(made, options.profileFilePrefix ?? 'onnxruntime_profile_'));
  apply(options.optimizedModelFilePath, (path) => api.SetOptimizedModelFilePath(made, path));
  apply(options.logId, (id) => api.SetSessionLogId(made, id));
  apply(options.logSeverityLevel, (level) => api.SetSessionLogSeverityLevel(made, level));
  apply(options.logVerbosityLevel, (level) => api.SetSessionLogVerbosityLevel(made, level));
  for (const [name, size] of Object.entries(options.freeDimensionOverrides ?? {}))
    check(library, api.AddFreeDimensionOverrideByName(made, name, size));
  for (const [key, value] of configEntries(options.extra))
    check(library, api.AddSessionConfigEntry(made, key, value));
}

/** Makes an `OrtRunOptions`, or null where nothing was asked for; the caller releases it. */
export function makeRunOptions(library: Library, options: RunOptions): Pointer | null {
  const { api } = library;
  const { signal, logSeverityLevel, tag, terminate, extra } = options;
  const entries = configEntries(extra);
  if (!signal && logSeverityLevel === undefined && tag === undefined && !terminate && entries.length === 0)
    return null;
  const out = new BigUint64Array(1);
  check(library, api.CreateRunOptions(out));
  const made = out[0]!;
  try {
    if (logSeverityLevel !== undefined)
      check(library, api.RunOptionsSetRunLogSeverityLevel(made, logSeverityLevel));
    if (tag !== undefined) check(library, api.RunOptionsSetRunTag(made, tag));
    if (terminate) check(library, api.RunOptionsSetTerminate(made));
    for (const [key, value] of entries) check(library, api.AddRunConfigEntry(made, key, value));
  } catch (thrown) {
    api.ReleaseRunOptions(made);
    throw thrown;
  }
  return made;
}

/** `{ session: { intra_op: { allow_spinning: '0' } } }` is the entry `session.intra_op.allow_spinning`. */
function configEntries(extra: Record<string, unknown> | undefined, prefix = ''): [string, string][] {
  return Object.entries(extra ?? {}).flatMap(([name, value]): [string, string][] =>
    typeof value === 'object' && value !== null
      ? configEntries(value as Record<string, unknown>, `${prefix}${name}.`)
      : [[`${prefix}${name}`, String(value)]],
  );
}

function known<Value>(values: Record<string, Value>, name: string, option: string): Value {
  if (!Object.hasOwn(values, name)) throw new TypeError(`${option} cannot be ${name}`);
  return values[name]!;
}
