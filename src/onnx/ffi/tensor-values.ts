import type { Tensor } from 'onnxruntime-common';
import type { Pointer } from './api.ts';
import type { Library } from './library.ts';
import { NativeValue } from './value.ts';

/**
 * Tensors as `OrtValue`s over their own memory.
 *
 * A tensor that is used once, as most feeds are, has its value made for the run and released after it. One
 * that comes again keeps its value until it is garbage: a cache of keys and values has a hundred of them.
 */
export class TensorValues {
  readonly #library: Library;
  readonly #seen = new WeakSet<Tensor>();
  readonly #kept = new WeakMap<Tensor, NativeValue>();
  readonly #collected: FinalizationRegistry<Pointer>;

  constructor(library: Library) {
    this.#library = library;
    this.#collected = new FinalizationRegistry((pointer) => library.api.ReleaseValue(pointer));
  }

  /**
   * @returns the value, and whether it is the caller's to release after `once`
   * @throws {TypeError} for what is no tensor of plain memory in this process
   */
  get(tensor: Tensor): { value: NativeValue; once: boolean } {
    const kept = this.#kept.get(tensor);
    if (kept?.usable) return { value: kept, once: false };
    if (kept !== undefined) this.#drop(tensor, kept);
    const value = this.#make(tensor);
    if (!this.#seen.has(tensor)) {
      this.#seen.add(tensor);
      return { value, once: true };
    }
    this.#kept.set(tensor, value);
    this.#collected.register(tensor, value.pointer, tensor);
    return { value, once: false };
  }

  #make(tensor: Tensor): NativeValue {
    if (tensor?.location !== 'cpu')
      throw new TypeError('only tensors in the memory of the CPU are supported');
    const { type, data, dims } = tensor;
    if (!ArrayBuffer.isView(data))
      throw new TypeError(`tensors of type ${type} are not supported by this backend`);
    return new NativeValue(this.#library, type, data as NodeJS.TypedArray, dims);
  }

  #drop(tensor: Tensor, value: NativeValue): void {
    this.#kept.delete(tensor);
    this.#collected.unregister(tensor);
    value.release();
  }
}
