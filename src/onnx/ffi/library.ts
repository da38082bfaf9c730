import { existsSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type * as Koffi from 'koffi';
import { type Api, apiVersion, bindApi, type Pointer } from './api.ts';
import { messageOf, NativeUnavailableError } from './errors.ts';

/** ONNX Runtime in this process, ready to be called. */
export interface Library {
  readonly koffi: typeof Koffi;
  readonly api: Api;
  /** ONNX Runtime's own version, such as 1.30.0. */
  readonly version: string;
  readonly path: string;
  /** Referenced from here because koffi unloads a library whose handle is garbage. */
  readonly handle: Koffi.LibraryHandle;
  /** The one `OrtEnv` of the process. */
  readonly environment: Pointer;
  /** Describes plain memory, such as a typed array's. */
  readonly cpuMemory: Pointer;
  /** What ONNX Runtime allocates names with. */
  readonly allocator: Pointer;
}

export interface LibraryOptions {
  /** The shared library; default: the one inside the installed `onnxruntime-node`. */
  path?: string;
  /** 0 verbose, 1 info, 2 warning, 3 error, 4 fatal; errors are thrown as well, so 4 loses nothing. */
  logSeverityLevel?: number;
}

/** By path. */
const opened = new Map<string, Library>();

/**
 * Opens a library once per process; later calls give the same one.
 *
 * It is never closed: threads of its pools and values that nobody collected yet would outlive it.
 *
 * @throws {NativeUnavailableError} with the reason: no koffi, no library, no symbol, another version
 */
export function openLibrary(options: LibraryOptions = {}): Library {
  let { path } = options;
  try {
    path ??= findLibrary();
    const library = opened.get(path) ?? load(path, options.logSeverityLevel ?? severityFatal);
    opened.set(path, library);
    return library;
  } catch (thrown) {
    if (thrown instanceof NativeUnavailableError) throw thrown;
    const reason = `${path === undefined ? '' : `${path}: `}${messageOf(thrown)}`;
    throw new NativeUnavailableError(reason, { cause: thrown });
  }
}

const severityFatal = 4;

/** A run on a thread of the pool gets koffi's stack; kernels may want as much as on a thread of their own. */
const asyncStackBytes = 4 * 1024 * 1024;
/** Stacks that are kept between runs: runs of a session follow each other, and sessions are few. */
const asyncStacksKept = 2;

const require = createRequire(import.meta.url);

/** @throws where `onnxruntime-node` is not installed or has no library for this machine */
function findLibrary(): string {
  if (process.platform !== 'linux')
    throw new NativeUnavailableError(`${process.platform} is not supported, only linux`);
  const bin = join(dirname(require.resolve('onnxruntime-node/package.json')), 'bin');
  // `napi-v6` as of 1.30; the number follows Node's interface, not the library's.
  for (const name of readdirSync(bin)) {
    const path = join(bin, name, process.platform, process.arch, 'libonnxruntime.so.1');
    if (existsSync(path)) return path;
  }
  throw new NativeUnavailableError(`onnxruntime-node has no library for ${process.arch}`);
}

function load(path: string, logSeverityLevel: number): Library {
  // Read when the library is loaded: without it, it makes a device id and may report to its maker.
  process.env.ORT_DISABLE_TELEMETRY ??= '1';
  // Not imported: this is to be a reason, not a crash, where it is not installed.
  const koffi = require('koffi') as typeof Koffi;
  // Refused once koffi has loaded anything: then its stacks are as they were set before.
  if ((koffi.config().async_stack_size ?? 0) < asyncStackBytes)
    koffi.config({ async_stack_size: asyncStackBytes, resident_async_pools: asyncStacksKept });
  const handle = koffi.load(path);
  const base: Pointer = handle.func('OrtGetApiBase', 'void *', [])();
  const version = koffi.decode(koffi.decode(base, 8, 'void *'), koffi.proto('str', []))() as string;
  const getApi = koffi.decode(koffi.decode(base, 0, 'void *'), koffi.proto('void *', ['uint32_t']));
  const table: Pointer | null = version.startsWith('1.') ? getApi(apiVersion) : null;
  if (!table) throw new NativeUnavailableError(`ONNX Runtime ${version} is not a version this can call`);
  const api = bindApi(koffi, table);
  const out = new BigUint64Array(1);
  const made = (status: Pointer | null): Pointer => {
    if (status) throw new NativeUnavailableError(api.GetErrorMessage(status));
    return out[0]!;
  };
  return {
    koffi,
    api,
    version,
    path,
    handle,
    environment: made(api.CreateEnv(logSeverityLevel, 'onnx', out)),
    cpuMemory: made(api.CreateCpuMemoryInfo(allocatorOfDevice, memoryDefault, out)),
    allocator: made(api.GetAllocatorWithDefaultOptions(out)),
  };
}

/** `OrtDeviceAllocator` and `OrtMemTypeDefault`. */
const allocatorOfDevice = 0;
const memoryDefault = 0;
