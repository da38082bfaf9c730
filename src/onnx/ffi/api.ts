/** The functions of ONNX Runtime's C API that this package calls, by their places in `OrtApi`. */

import type * as Koffi from 'koffi';

/** An address in this process; 0n is the null pointer. */
export type Pointer = bigint;
/** A typed array stands for the address of its first element. */
export type Address = Pointer | NodeJS.TypedArray;
/** An `OrtStatus *`: null where a call went well, else it has to be read and released. */
export type Status = Pointer | null;

/** As C declares it: what comes back, then what goes in. `void *` is any pointer, `str` a C string. */
type Signature = readonly [slot: number, result: string, ...parameters: string[]];

/**
 * ONNX Runtime only ever appends to `OrtApi`, so a place is good for every later version.
 * Source: `onnxruntime_c_api.h`, counted from `CreateStatus`, which is 0.
 */
const signatures = {
  GetErrorCode: [1, 'int', 'void *'],
  GetErrorMessage: [2, 'str', 'void *'],
  CreateEnv: [3, 'void *', 'int', 'str', 'void *'],
  CreateSession: [7, 'void *', 'void *', 'str', 'void *', 'void *'],
  CreateSessionFromArray: [8, 'void *', 'void *', 'void *', 'size_t', 'void *', 'void *'],
  Run: [9, 'void *', 'void *', 'void *', 'void *', 'void *', 'size_t', 'void *', 'size_t', 'void *'],
  CreateSessionOptions: [10, 'void *', 'void *'],
  SetOptimizedModelFilePath: [11, 'void *', 'void *', 'str'],
  SetSessionExecutionMode: [13, 'void *', 'void *', 'int'],
  EnableProfiling: [14, 'void *', 'void *', 'str'],
  DisableMemPattern: [17, 'void *', 'void *'],
  DisableCpuMemArena: [19, 'void *', 'void *'],
  SetSessionLogId: [20, 'void *', 'void *', 'str'],
  SetSessionLogVerbosityLevel: [21, 'void *', 'void *', 'int'],
  SetSessionLogSeverityLevel: [22, 'void *', 'void *', 'int'],
  SetSessionGraphOptimizationLevel: [23, 'void *', 'void *', 'int'],
  SetIntraOpNumThreads: [24, 'void *', 'void *', 'int'],
  SetInterOpNumThreads: [25, 'void *', 'void *', 'int'],
  SessionGetInputCount: [30, 'void *', 'void *', 'void *'],
  SessionGetOutputCount: [31, 'void *', 'void *', 'void *'],
  SessionGetInputTypeInfo: [33, 'void *', 'void *', 'size_t', 'void *'],
  SessionGetOutputTypeInfo: [34, 'void *', 'void *', 'size_t', 'void *'],
  SessionGetInputName: [36, 'void *', 'void *', 'size_t', 'void *', 'void *'],
  SessionGetOutputName: [37, 'void *', 'void *', 'size_t', 'void *', 'void *'],
  CreateRunOptions: [39, 'void *', 'void *'],
  RunOptionsSetRunLogSeverityLevel: [41, 'void *', 'void *', 'int'],
  RunOptionsSetRunTag: [42, 'void *', 'void *', 'str'],
  RunOptionsSetTerminate: [46, 'void *', 'void *'],
  CreateTensorWithDataAsOrtValue: [
    49,
    'void *',
    'void *',
    'void *',
    'size_t',
    'void *',
    'size_t',
    'int',
    'void *',
  ],
  IsTensor: [50, 'void *', 'void *', 'void *'],
  GetTensorMutableData: [51, 'void *', 'void *', 'void *'],
  CastTypeInfoToTensorInfo: [55, 'void *', 'void *', 'void *'],
  GetTensorElementType: [60, 'void *', 'void *', 'void *'],
  GetDimensionsCount: [61, 'void *', 'void *', 'void *'],
  GetDimensions: [62, 'void *', 'void *', 'void *', 'size_t'],
  GetSymbolicDimensions: [63, 'void *', 'void *', 'void *', 'size_t'],
  GetTensorTypeAndShape: [65, 'void *', 'void *', 'void *'],
  CreateCpuMemoryInfo: [69, 'void *', 'int', 'int', 'void *'],
  AllocatorFree: [76, 'void *', 'void *', 'void *'],
  GetAllocatorWithDefaultOptions: [78, 'void *', 'void *'],
  ReleaseStatus: [93, 'void', 'void *'],
  ReleaseSession: [95, 'void', 'void *'],
  ReleaseValue: [96, 'void', 'void *'],
  ReleaseRunOptions: [97, 'void', 'void *'],
  ReleaseTypeInfo: [98, 'void', 'void *'],
  ReleaseTensorTypeAndShapeInfo: [99, 'void', 'void *'],
  ReleaseSessionOptions: [100, 'void', 'void *'],
  SessionEndProfiling: [110, 'void *', 'void *', 'void *', 'void *'],
  AddFreeDimensionOverrideByName: [124, 'void *', 'void *', 'str', 'int64_t'],
  AddSessionConfigEntry: [130, 'void *', 'void *', 'str', 'str'],
  AddRunConfigEntry: [165, 'void *', 'void *', 'str', 'str'],
} as const satisfies Record<string, Signature>;

/** The version that is asked for: the oldest that has all of the above and is tried. */
export const apiVersion = 22;

type ResultOf<S extends Signature> = S[1] extends 'int' ? number : S[1] extends 'str' ? string : Status;
type Argument = Address | number | string | null;

export interface ApiFunction<Result> {
  (...parameters: Argument[]): Result;
  /** Runs on a thread of libuv's pool; what the parameters point to must stay where it is meanwhile. */
  async(...parameters: [...Argument[], (error: Error | null, result: Result) => void]): void;
}

export type Api = {
  [Name in keyof typeof signatures]: ApiFunction<ResultOf<(typeof signatures)[Name]>>;
};

const pointerBytes = 8;

/** Makes each function callable. `table` is the address of an `OrtApi` that outlives the process. */
export function bindApi(koffi: typeof Koffi, table: Pointer): Api {
  const bound: Partial<Record<string, unknown>> = {};
  for (const [name, [slot, result, ...parameters]] of Object.entries<Signature>(signatures)) {
    const address: Pointer = koffi.decode(table, slot * pointerBytes, 'void *');
    if (!address) throw new Error(`the C API has no ${name}`);
    bound[name] = koffi.decode(address, koffi.proto(result, parameters));
  }
  return bound as Api;
}
