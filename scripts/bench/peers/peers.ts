import type { BenchModels } from '../models/build.ts';
import type { Peer, PeerOptions } from './peer.ts';

/** Packages that a peer needs, by the folder of the cache that they are installed in. */
export interface PeerPackages {
  folder: string;
  packages: readonly string[];
  /** Leaves out what npm would bring for other machines. */
  omitOptional: boolean;
}

export interface PeerKind {
  /** The column in which it is reported: of several that share one, the better counts. */
  column: Column;
  packages: PeerPackages | null;
  modelOf(models: BenchModels): string;
  open(options: PeerOptions): Promise<Peer>;
}

/** slmd with its peers' weights, and with its own coarser ones. */
export const ownColumns = ['slmd', 'slmd block 128'] as const;
export const columns = [...ownColumns, 'onnxruntime-node', 'transformers.js', 'llama.cpp'] as const;
export type Column = (typeof columns)[number];

const transformersVersion = '4.3.1';
const llamaVersion = '3.22.1';
const platform = `${process.platform}-${process.arch}`;

const llamaPackages: PeerPackages = {
  folder: 'llama-cpp',
  packages: [`node-llama-cpp@${llamaVersion}`, `@node-llama-cpp/${platform}@${llamaVersion}`],
  // The others are binaries for graphics cards, a gigabyte of them.
  omitOptional: true,
};

/** Who is compared. Each is opened in a process of its own. */
export const peerKinds: Record<string, PeerKind> = {
  slmd: {
    column: 'slmd',
    packages: null,
    modelOf: ({ slmd }) => slmd['block 32'],
    open: async (options) => (await import('./slmd.ts')).open(options),
  },
  'slmd block 128': {
    column: 'slmd block 128',
    packages: null,
    modelOf: ({ slmd }) => slmd['block 128'],
    open: async (options) => (await import('./slmd.ts')).open(options),
  },
  'onnxruntime-node growing': {
    column: 'onnxruntime-node',
    packages: null,
    modelOf: ({ slmd }) => slmd['block 32'],
    open: async (options) => (await import('./onnxruntime-node.ts')).open(options, 'growing'),
  },
  'onnxruntime-node shared': {
    column: 'onnxruntime-node',
    packages: null,
    modelOf: ({ slmd }) => slmd['block 32'],
    open: async (options) => (await import('./onnxruntime-node.ts')).open(options, 'shared'),
  },
  'transformers.js': {
    column: 'transformers.js',
    packages: {
      folder: 'transformers',
      packages: [`@huggingface/transformers@${transformersVersion}`],
      omitOptional: false,
    },
    modelOf: ({ hub }) => hub,
    open: async (options) => (await import('./transformers.ts')).open(options),
  },
  'llama.cpp': {
    column: 'llama.cpp',
    packages: llamaPackages,
    modelOf: ({ gguf }) => gguf,
    open: async (options) => (await import('./llama-cpp.ts')).open(options, 'auto'),
  },
  'llama.cpp without flash attention': {
    column: 'llama.cpp',
    packages: llamaPackages,
    modelOf: ({ gguf }) => gguf,
    open: async (options) => (await import('./llama-cpp.ts')).open(options, false),
  },
};
