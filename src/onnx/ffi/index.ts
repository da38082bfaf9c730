/** ONNX Runtime's C API for Node, without copies and off the event loop: see README.md beside this file. */

export { type BackendOptions, type OnnxRuntimeCommon, registerNativeBackend } from './backend.ts';
export { NativeUnavailableError, OrtError, type OrtErrorCode } from './errors.ts';
export { useHugePages, useHugePagesIn } from './huge-pages.ts';
export { type Library, type LibraryOptions, openLibrary } from './library.ts';
export type { RunOptions, SessionOptions } from './options.ts';
export { pageGiver } from './pages.ts';
export type { Plan } from './plan.ts';
export { NativeSession } from './session.ts';
export { NativeValue, OutputValue } from './value.ts';
