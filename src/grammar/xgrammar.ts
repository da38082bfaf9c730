/** The door to XGrammar: its WebAssembly is inside its one file, and nothing is ever fetched. */

import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type * as Library from '@mlc-ai/web-xgrammar';

export type XGrammar = Pick<
  typeof Library,
  'Grammar' | 'GrammarCompiler' | 'GrammarMatcher' | 'TokenizerInfo'
>;
export type { CompiledGrammar, GrammarCompiler, GrammarMatcher } from '@mlc-ai/web-xgrammar';

/** A fresh instance of the library, and how much memory it holds by now. */
export interface LoadedXGrammar {
  library: XGrammar;
  memoryBytes(): number;
}

/** The file's name beside the bundle; `scripts/build.ts` puts it there. */
const bundledName = 'xgrammar.cjs';

/**
 * The package calls itself an ES module and is written as CommonJS (`require`, `__filename`, `exports`),
 * so that no loader of Node takes it as it is: it is compiled as what it is written as. It gets a
 * WebAssembly of its own that remembers the memory, which the library does not show.
 */
export function loadXGrammar(): LoadedXGrammar {
  const file = libraryFile();
  const exported = {};
  const wasm = (globalThis as unknown as { WebAssembly: Wasm }).WebAssembly;
  let memory: Memory | undefined;
  const watched: Wasm = Object.assign(Object.create(wasm), {
    async instantiate(bytes: Uint8Array, imports: object) {
      const source = await wasm.instantiate(bytes, imports);
      memory = Object.values(source.instance.exports).find(isMemory);
      return source;
    },
  });
  const names = ['exports', 'module', 'require', '__filename', 'WebAssembly'];
  const compiled = new Function(...names, readFileSync(file, 'utf8'));
  compiled(exported, { exports: exported }, createRequire(file), file, watched);
  return { library: exported as XGrammar, memoryBytes: () => memory?.buffer.byteLength ?? 0 };
}

/** What is used of WebAssembly here; the types of Node have little of it. */
interface Wasm {
  instantiate(
    bytes: Uint8Array,
    imports: object,
  ): Promise<{ instance: { exports: Record<string, unknown> } }>;
}

interface Memory {
  readonly buffer: ArrayBuffer;
}

function isMemory(exported: unknown): exported is Memory {
  return Object.prototype.toString.call(exported) === '[object WebAssembly.Memory]';
}

function libraryFile(): string {
  const bundled = join(import.meta.dirname, bundledName);
  return existsSync(bundled) ? bundled : fileURLToPath(import.meta.resolve('@mlc-ai/web-xgrammar'));
}
