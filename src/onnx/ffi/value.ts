import type { Tensor } from 'onnxruntime-common';
import type { Pointer } from './api.ts';
import { arrayOf, bytesPerElement, elementName, elementNumber } from './element-types.ts';
import { check } from './errors.ts';
import type { Library } from './library.ts';

/**
 * An `OrtValue` over a typed array's own memory: what the one writes, the other reads.
 *
 * The array must not be detached (transferred, resized) while the value is in use.
 */
export class NativeValue {
  readonly type: Tensor.Type;
  readonly dims: readonly number[];
  readonly data: NodeJS.TypedArray;
  /** 0n after `release`. */
  pointer: Pointer;
  readonly #library: Library;
  readonly #bytes: number;

  /** @throws {OrtError} where the array is smaller than its dims, {TypeError} for types that cannot be passed */
  constructor(library: Library, type: Tensor.Type, data: NodeJS.TypedArray, dims: readonly number[]) {
    this.type = type;
    this.dims = dims;
    this.data = data;
    this.#library = library;
    this.#bytes = data.byteLength;
    const shape = BigInt64Array.from(dims, BigInt);
    const out = new BigUint64Array(1);
    check(
      library,
      library.api.CreateTensorWithDataAsOrtValue(
        library.cpuMemory,
        // An empty array has no address, and null is refused.
        data.byteLength === 0 ? somewhere : data,
        data.byteLength,
        shape,
        shape.length,
        elementNumber(type),
        out,
      ),
    );
    this.pointer = out[0]!;
  }

  /** Whether the memory is still the array's: a detached array has none. */
  get usable(): boolean {
    return this.pointer !== 0n && this.data.byteLength === this.#bytes;
  }

  release(): void {
    if (this.pointer === 0n) return;
    this.#library.api.ReleaseValue(this.pointer);
    this.pointer = 0n;
  }
}

export interface TensorParts {
  type: Tensor.Type;
  data: NodeJS.TypedArray;
  dims: number[];
}

/** A tensor that ONNX Runtime allocated: it may be fed to a later run as it is, and is released once. */
export class OutputValue {
  /** 0n after `release`. */
  pointer: Pointer;
  readonly #library: Library;

  constructor(library: Library, pointer: Pointer) {
    this.#library = library;
    this.pointer = pointer;
  }

  /**
   * Its own memory, valid until `release`.
   *
   * @throws {TypeError} for what is no tensor of plain memory
   */
  view(): TensorParts {
    const { api, koffi } = this.#library;
    const isTensor = new Int32Array(1);
    check(this.#library, api.IsTensor(this.pointer, isTensor));
    if (isTensor[0] === 0) throw new TypeError('an output is not a tensor');
    const { type, dims } = typeAndShape(this.#library, this.pointer);
    const length = dims.reduce((product, dim) => product * dim, 1);
    // Before the memory is read: strings are not where their tensor is.
    const bytes = length * bytesPerElement(type);
    if (bytes === 0) return { type, data: arrayOf(type, new ArrayBuffer(0)), dims };
    const out = new BigUint64Array(1);
    check(this.#library, api.GetTensorMutableData(this.pointer, out));
    return { type, data: arrayOf(type, koffi.view(out[0], bytes)), dims };
  }

  release(): void {
    if (this.pointer === 0n) return;
    this.#library.api.ReleaseValue(this.pointer);
    this.pointer = 0n;
  }
}

/** Copies what ONNX Runtime allocated, and releases it, whatever happens. */
export function takeOutput(library: Library, pointer: Pointer): TensorParts {
  const value = new OutputValue(library, pointer);
  try {
    const { type, data, dims } = value.view();
    return { type, data: data.slice(), dims };
  } finally {
    value.release();
  }
}

function typeAndShape(library: Library, pointer: Pointer): { type: Tensor.Type; dims: number[] } {
  const { api } = library;
  const out = new BigUint64Array(1);
  check(library, api.GetTensorTypeAndShape(pointer, out));
  const info = out[0]!;
  try {
    const { number, dims } = readTensorInfo(library, info);
    const type = elementName(number);
    if (type === undefined)
      throw new TypeError(`an output has the element type ${number}, which has no name`);
    return { type, dims };
  } finally {
    api.ReleaseTensorTypeAndShapeInfo(info);
  }
}

/** Element type and dimensions of an `OrtTensorTypeAndShapeInfo`; −1 for one that is not fixed. */
export function readTensorInfo(library: Library, info: Pointer): { number: number; dims: number[] } {
  const { api } = library;
  const element = new Int32Array(1);
  check(library, api.GetTensorElementType(info, element));
  const count = new BigUint64Array(1);
  check(library, api.GetDimensionsCount(info, count));
  const dims = new BigInt64Array(Number(count[0]));
  if (dims.length > 0) check(library, api.GetDimensions(info, dims, dims.length));
  return { number: element[0]!, dims: Array.from(dims, Number) };
}

const somewhere = new Uint8Array(new ArrayBuffer(8));
