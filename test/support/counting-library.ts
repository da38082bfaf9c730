import type { Library } from '../../src/onnx/ffi/index.ts';

type Callable = ((...parameters: unknown[]) => unknown) & { async(...parameters: unknown[]): void };

/** What makes something, by what releases it. Each returns a status; only success has made anything. */
const makers: Record<string, RegExp> = {
  ReleaseValue: /^CreateTensorWithDataAsOrtValue$/,
  ReleaseRunOptions: /^CreateRunOptions$/,
  ReleaseSessionOptions: /^CreateSessionOptions$/,
  ReleaseSession: /^CreateSession(FromArray)?$/,
  ReleaseTypeInfo: /^SessionGet(Input|Output)TypeInfo$/,
  ReleaseTensorTypeAndShapeInfo: /^GetTensorTypeAndShape$/,
  AllocatorFree: /^SessionGet(Input|Output)Name$/,
};

/** A library that counts what its callers make and release; `ReleaseStatus` is for every failure. */
export function countingLibrary(library: Library): {
  library: Library;
  made: Map<string, number>;
  released: Map<string, number>;
} {
  const made = new Map<string, number>();
  const released = new Map<string, number>();
  const add = (counts: Map<string, number>, name: string) => counts.set(name, (counts.get(name) ?? 0) + 1);
  const count = (name: string, result: unknown) => {
    if (name === 'ReleaseStatus' || name in makers) add(released, name);
    if (typeof result === 'bigint' && result !== 0n) add(made, 'ReleaseStatus');
    else for (const [releaser, maker] of Object.entries(makers)) if (maker.test(name)) add(made, releaser);
  };
  const api = Object.fromEntries(
    Object.entries(library.api).map(([name, inner]) => {
      const call = inner as unknown as Callable;
      const counted = (...parameters: unknown[]) => {
        const result = call(...parameters);
        count(name, result);
        return result;
      };
      counted.async = (...parameters: unknown[]) => {
        const done = parameters.pop() as (error: unknown, result: unknown) => void;
        call.async(...parameters, (error: unknown, result: unknown) => {
          count(name, result);
          done(error, result);
        });
      };
      return [name, counted];
    }),
  );
  return { library: { ...library, api: api as unknown as Library['api'] }, made, released };
}
