import { loadavg } from 'node:os';
import { contextLength, type Measure, promptOf, type Sample, stepsOf } from './measures.ts';
import type { BenchModels } from './models/build.ts';
import type { Clock } from './peers/peer.ts';
import { PeerProcess } from './peers/peer-process.ts';
import { type Column, columns, peerKinds } from './peers/peers.ts';

export interface CompareOptions {
  threads: number;
  clock: Clock;
  rounds: number;
  decodeTokens: number;
  columns: readonly Column[];
  /** Where a peer's packages are. @throws why they cannot be installed */
  packagesOf(name: string): Promise<string>;
  onProgress(done: number, total: number): void;
}

/** One peer of one shape. */
export interface PeerResult {
  column: Column;
  version: string;
  settings: string;
  samples: Partial<Record<Measure, number[]>>;
  /** The first token of each answer, in the order of the questions. */
  firstTokens: number[];
  /** Why it could not be measured, or not to the end. */
  failure: string | null;
}

export interface Comparison {
  shape: string;
  threads: number;
  clock: Clock;
  /** One minute's load average when each round began. */
  loads: number[];
  peers: Record<string, PeerResult>;
}

/**
 * Measures peers side by side. In a round each is loaded anew in a process of its own, and then all do one
 * step before any does the next, each round beginning further on in their list: what else the machine does
 * meets all alike.
 */
export async function compare(
  shape: string,
  models: BenchModels,
  options: CompareOptions,
): Promise<Comparison> {
  const names = Object.keys(peerKinds).filter((name) => options.columns.includes(peerKinds[name]!.column));
  const peers: Comparison['peers'] = {};
  for (const name of names) {
    const { column } = peerKinds[name]!;
    peers[name] = { column, version: '', settings: '', samples: {}, firstTokens: [], failure: null };
  }
  const { threads, clock } = options;
  const comparison: Comparison = { shape, threads, clock, loads: [], peers };
  for (let round = 0; round < options.rounds; round++) {
    comparison.loads.push(loadavg()[0]!);
    const first = Math.floor((round * names.length) / options.rounds);
    await playRound(round, [...names.slice(first), ...names.slice(0, first)], comparison, models, options);
    options.onProgress(round + 1, options.rounds);
  }
  return comparison;
}

async function playRound(
  round: number,
  names: readonly string[],
  { peers }: Comparison,
  models: BenchModels,
  options: CompareOptions,
): Promise<void> {
  const open = new Map<string, PeerProcess>();
  /** A peer that fails is left out from then on, with its reason. */
  const attempt = async (name: string, work: () => Promise<Sample>) => {
    const result = peers[name]!;
    if (result.failure !== null) return;
    try {
      for (const [measure, value] of Object.entries(await work()) as [Measure, number][])
        result.samples[measure] = [...(result.samples[measure] ?? []), value];
    } catch (thrown) {
      result.failure = thrown instanceof Error ? thrown.message : String(thrown);
    }
  };
  try {
    for (const name of names) {
      await attempt(name, async () => {
        const peer = await openPeer(name, models, options);
        open.set(name, peer);
        const { version, settings, load_ms } = peer.opened;
        Object.assign(peers[name]!, { version, settings });
        return { load: load_ms };
      });
    }
    const steps = stepsOf(options.decodeTokens);
    for (const [i, step] of steps.entries()) {
      const prompt = promptOf(round * steps.length + i);
      for (const [name, peer] of open) {
        const answered = (id: number) => peers[name]!.firstTokens.push(id);
        await attempt(name, () => step.run(peer, prompt, answered));
      }
    }
    for (const [name, peer] of open)
      await attempt(name, async () => ({ peak: (await peer.memory()).peak_bytes / 1e6 }));
  } finally {
    await Promise.all([...open.values()].map((peer) => peer.close()));
  }
}

/** Opened and warmed up: the first run of a process compiles and allocates what the others find. */
async function openPeer(name: string, models: BenchModels, options: CompareOptions): Promise<PeerProcess> {
  const peer = await PeerProcess.open(name, {
    model: peerKinds[name]!.modelOf(models),
    packages: await options.packagesOf(name),
    threads: options.threads,
    clock: options.clock,
    contextLength,
  });
  try {
    await peer.answer(promptOf(0)(16), 8);
    return peer;
  } catch (thrown) {
    await peer.close();
    throw thrown;
  }
}

/** The peers of a column, in the order of the columns. */
export function byColumn({ peers }: Comparison): Map<Column, PeerResult[]> {
  const all = Object.values(peers);
  return new Map(
    columns
      .map((column) => [column, all.filter((peer) => peer.column === column)] as const)
      .filter(([, found]) => found.length > 0),
  );
}
