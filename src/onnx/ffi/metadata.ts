import type { InferenceSession } from 'onnxruntime-common';
import type { Pointer, Status } from './api.ts';
import { elementName } from './element-types.ts';
import { check } from './errors.ts';
import type { Library } from './library.ts';
import { readTensorInfo } from './value.ts';

type ValueMetadata = InferenceSession.ValueMetadata;

/** What a session takes, and what it gives. */
export interface SessionMetadata {
  inputs: ValueMetadata[];
  outputs: ValueMetadata[];
}

export function readMetadata(library: Library, session: Pointer): SessionMetadata {
  const { api } = library;
  const count = new BigUint64Array(1);
  const list = (
    counted: Status,
    name: (i: number, out: BigUint64Array) => Status,
    info: (i: number, out: BigUint64Array) => Status,
  ): ValueMetadata[] => {
    check(library, counted);
    return Array.from({ length: Number(count[0]) }, (_, i) =>
      readValue(
        library,
        readName(library, (out) => name(i, out)),
        (out) => info(i, out),
      ),
    );
  };
  return {
    inputs: list(
      api.SessionGetInputCount(session, count),
      (i, out) => api.SessionGetInputName(session, i, library.allocator, out),
      (i, out) => api.SessionGetInputTypeInfo(session, i, out),
    ),
    outputs: list(
      api.SessionGetOutputCount(session, count),
      (i, out) => api.SessionGetOutputName(session, i, library.allocator, out),
      (i, out) => api.SessionGetOutputTypeInfo(session, i, out),
    ),
  };
}

/** A C string that ONNX Runtime allocated for us. */
export function readName(library: Library, get: (out: BigUint64Array) => Status): string {
  const out = new BigUint64Array(1);
  check(library, get(out));
  try {
    return library.koffi.decode(out[0], 'char', -1) as string;
  } finally {
    check(library, library.api.AllocatorFree(library.allocator, out[0]!));
  }
}

function readValue(library: Library, name: string, info: (out: BigUint64Array) => Status): ValueMetadata {
  const { api } = library;
  const out = new BigUint64Array(1);
  check(library, info(out));
  const typeInfo = out[0]!;
  try {
    // Belongs to the type info; null for sequences, maps and the like.
    check(library, api.CastTypeInfoToTensorInfo(typeInfo, out));
    const tensorInfo = out[0]!;
    if (tensorInfo === 0n) return { name, isTensor: false };
    const { number, dims } = readTensorInfo(library, tensorInfo);
    const type = elementName(number);
    if (type === undefined) return { name, isTensor: false };
    const symbols = readSymbols(library, tensorInfo, dims.length);
    return { name, isTensor: true, type, shape: dims.map((dim, i) => (dim === -1 ? symbols[i]! : dim)) };
  } finally {
    api.ReleaseTypeInfo(typeInfo);
  }
}

/** The names of dimensions that are not fixed; they belong to the type info. */
function readSymbols(library: Library, tensorInfo: Pointer, count: number): string[] {
  if (count === 0) return [];
  const out = new BigUint64Array(count);
  check(library, library.api.GetSymbolicDimensions(tensorInfo, out, count));
  return Array.from(out, (address) => library.koffi.decode(address, 'char', -1) as string);
}
