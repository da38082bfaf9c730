import type { Status } from './api.ts';
import type { Library } from './library.ts';

/** `OrtErrorCode`, in its order. */
const codes = [
  'ORT_OK',
  'ORT_FAIL',
  'ORT_INVALID_ARGUMENT',
  'ORT_NO_SUCHFILE',
  'ORT_NO_MODEL',
  'ORT_ENGINE_ERROR',
  'ORT_RUNTIME_EXCEPTION',
  'ORT_INVALID_PROTOBUF',
  'ORT_MODEL_LOADED',
  'ORT_NOT_IMPLEMENTED',
  'ORT_INVALID_GRAPH',
  'ORT_EP_FAIL',
  'ORT_MODEL_LOAD_CANCELED',
  'ORT_MODEL_REQUIRES_COMPILATION',
  'ORT_NOT_FOUND',
] as const;

export type OrtErrorCode = (typeof codes)[number];

/** What ONNX Runtime says went wrong, in its own words. */
export class OrtError extends Error {
  override readonly name = 'OrtError';
  readonly code: OrtErrorCode;

  constructor(code: OrtErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

/** The C API cannot be used in this process; `onnxruntime-node` may still be. */
export class NativeUnavailableError extends Error {
  override readonly name = 'NativeUnavailableError';
}

/** @throws {OrtError} where a status tells of a failure; the status is released */
export function check({ api }: Pick<Library, 'api'>, status: Status): void {
  if (!status) return;
  const error = new OrtError(codes[api.GetErrorCode(status)] ?? 'ORT_FAIL', api.GetErrorMessage(status));
  api.ReleaseStatus(status);
  throw error;
}

export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
