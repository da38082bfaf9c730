import type { Tensor } from 'onnxruntime-common';

/** Element types by `ONNXTensorElementDataType`. Strings are no plain memory, and are refused. */
const numbers = {
  float32: 1,
  uint8: 2,
  int8: 3,
  uint16: 4,
  int16: 5,
  int32: 6,
  int64: 7,
  string: 8,
  bool: 9,
  float16: 10,
  float64: 11,
  uint32: 12,
  uint64: 13,
  uint4: 21,
  int4: 22,
} as const satisfies Record<Tensor.Type, number>;

const names = new Map<number, Tensor.Type>(
  Object.entries(numbers).map(([name, number]) => [number, name as Tensor.Type]),
);

type ArrayConstructor = new (buffer: ArrayBuffer) => NodeJS.TypedArray;

const arrays: Partial<Record<Tensor.Type, ArrayConstructor>> = {
  float32: Float32Array,
  uint8: Uint8Array,
  int8: Int8Array,
  uint16: Uint16Array,
  int16: Int16Array,
  int32: Int32Array,
  int64: BigInt64Array,
  bool: Uint8Array,
  // As `Tensor` wants it: Float16Array where the language has it.
  float16: (globalThis as { Float16Array?: ArrayConstructor }).Float16Array ?? Uint16Array,
  float64: Float64Array,
  uint32: Uint32Array,
  uint64: BigUint64Array,
};

/** @throws {TypeError} for types that this package cannot pass */
export function elementNumber(type: Tensor.Type): number {
  if (arrays[type] === undefined) throw unsupported(type);
  return numbers[type];
}

/** The name of a type, whether it can be passed or not; undefined for one without a name here. */
export function elementName(number: number): Tensor.Type | undefined {
  return names.get(number);
}

/** @throws {TypeError} for types that this package cannot pass */
export function arrayOf(type: Tensor.Type, buffer: ArrayBuffer): NodeJS.TypedArray {
  const Elements = arrays[type];
  if (Elements === undefined) throw unsupported(type);
  return new Elements(buffer);
}

export function bytesPerElement(type: Tensor.Type): number {
  return arrayOf(type, new ArrayBuffer(0)).BYTES_PER_ELEMENT;
}

function unsupported(type: string): TypeError {
  return new TypeError(`tensors of type ${type} are not supported by this backend`);
}
