import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Result } from '../../src/contract/result.ts';
import type { EngineRun } from './fake-engine.ts';
import { readLives } from './lives.ts';
import { isResult, type Message, parsed, TestRequester } from './requester.ts';
import { Heard, inTime, patienceMs } from './wait.ts';

export interface LedgerOptions {
  /** The broker itself: what the device's network suffers must not keep the ledger from hearing. */
  url: string;
  version: 5 | 4;
  device?: string;
  /** Where the device's journal is; null for a device that has none. */
  journal_dir: string | null;
  /** What the fake engine loads: a directory that exists, where it keeps its runs; null where it does not. */
  model_dir: string | null;
}

/** What became of the prompts; every list is of ids, and all are empty where each promise was kept. */
export interface Verdict {
  /** Without any result. */
  lost: string[];
  /** With answers that differ, on the wire, retained, or in the journal. */
  conflicting: string[];
  /** Whose retained value is missing. */
  not_retained: string[];
  /** That are not over in the journal: not answered, or answered and not delivered, or answered twice. */
  unfinished: string[];
  /** Run by the engine once more after its answer was fixed. */
  computed_twice: string[];
}

export const kept: Verdict = {
  lost: [],
  conflicting: [],
  not_retained: [],
  unfinished: [],
  computed_twice: [],
};

let lastId = 0;
/** Waited only where something that should be retained is not. */
const retainedMs = 5000;

/**
 * Keeps account of every prompt that it gave an id: hears each result on a connection of its own, and in
 * the end looks at what is retained, at the journal and at the runs of the engine.
 */
export class Ledger {
  readonly #options: LedgerOptions & { device: string };
  readonly #observer: TestRequester;
  readonly #ids: string[] = [];
  /** Results by id; an empty one only takes an earlier one back, and is none. */
  readonly #heard = new Map<string, Message[]>();
  readonly #answered = new Heard<string>();

  private constructor(options: LedgerOptions & { device: string }, observer: TestRequester) {
    this.#options = options;
    this.#observer = observer;
    observer.heard.each((message) => {
      if (isResult(message)) this.#hear(message);
    });
  }

  static async open({ device = 'kitchen', ...options }: LedgerOptions): Promise<Ledger> {
    const { url, version } = options;
    const filters = [`slmd/${device}/result/#`];
    const observer = await TestRequester.connect({ url, version, device, filters });
    return new Ledger({ ...options, device }, observer);
  }

  close(): Promise<void> {
    return this.#observer.close();
  }

  /** As `close`, for a `Stage`. */
  stop(): Promise<void> {
    return this.close();
  }

  get ids(): readonly string[] {
    return this.#ids;
  }

  /** A request that is accounted for; its id is its prompt's last word too, by which the engine's runs know it. */
  request(prompt: string): { id: string; prompt: string } {
    const id = `led-${++lastId}`;
    this.#ids.push(id);
    return { id, prompt: `${prompt} ${id}` };
  }

  /** Resolves when each of these prompts has a result that is its last: none says "come again". */
  async answered(ids: readonly string[] = this.#ids, ms = patienceMs): Promise<void> {
    const missing = new Set(ids);
    const all = Promise.withResolvers<void>();
    this.#answered.each((id) => {
      missing.delete(id);
      if (missing.size === 0) all.resolve();
    });
    if (ids.length === 0) return;
    await inTime(all.promise, `an answer to each of ${ids.length} prompts`, ms).catch((error: Error) => {
      throw new Error(`${error.message}; missing: ${[...missing].join(', ')}`);
    });
  }

  /** Those of these prompts that have no answer yet. */
  unanswered(ids: readonly string[] = this.#ids): string[] {
    return ids.filter((id) => !this.#heard.get(id)?.some(isFinal));
  }

  /** Whether the journal says that the broker has a prompt's result. */
  delivered(id: string): boolean {
    const { journal_dir } = this.#options;
    return journal_dir !== null && (readLives(journal_dir).get(id)?.delivered ?? false);
  }

  /** Every result of a prompt, in the order in which they came; not those that the broker had kept. */
  results(id: string): Message[] {
    return (this.#heard.get(id) ?? []).filter(({ retain }) => !retain);
  }

  /** How often results were published that had been published before. */
  get duplicates(): number {
    return this.#ids.reduce((sum, id) => sum + Math.max(0, this.results(id).filter(isFinal).length - 1), 0);
  }

  /** The runs of a prompt, in order. */
  runs(id: string): EngineRun[] {
    return this.#allRuns().get(id) ?? [];
  }

  /** Looks at everything there is. To be asked when nothing is under way any more. */
  async verdict(): Promise<Verdict> {
    const retained = await this.#retained(
      [...this.#heard].filter(([, heard]) => heard.some(isFinal)).map(([id]) => id),
    );
    const { journal_dir } = this.#options;
    const lives = journal_dir === null ? null : readLives(journal_dir);
    const runs = this.#allRuns();
    const verdict = structuredClone(kept);
    for (const id of this.#ids) {
      const heard = this.#heard.get(id) ?? [];
      const answers = heard.filter(isFinal).map(({ payload }) => payload.toString());
      const life = lives?.get(id);
      const bytes = [answers, life?.results ?? [], retained.get(id) ?? []].flat();
      if (heard.length === 0) verdict.lost.push(id);
      if (new Set(bytes).size > 1) verdict.conflicting.push(id);
      // A refusal is neither journaled nor retained.
      if (answers.length === 0 && life === undefined) continue;
      if (!retained.has(id)) verdict.not_retained.push(id);
      if (lives !== null && !(life?.results.length === 1 && life.delivered)) verdict.unfinished.push(id);
      if (runs.get(id)?.some(({ at }) => at > (life?.fixed_at ?? Infinity))) verdict.computed_twice.push(id);
    }
    return verdict;
  }

  #hear(message: Message): void {
    const id = idOf(message);
    this.#heard.set(id, [...(this.#heard.get(id) ?? []), message]);
    if (isFinal(message)) this.#answered.push(id);
  }

  /**
   * What a newcomer finds on the broker. With QoS 0, which no broker bounds by a queue's length; and
   * waited for, because a broker may bring what is retained after what is sent later (aedes does).
   */
  async #retained(expected: readonly string[]): Promise<Map<string, string>> {
    const { url, version, device } = this.#options;
    const filters = [`slmd/${device}/result/#`];
    const newcomer = await TestRequester.connect({ url, version, device, filters, qos: 0 });
    const found = new Map<string, string>();
    const missing = new Set(expected);
    const all = Promise.withResolvers<void>();
    newcomer.heard.each((message) => {
      if (message.retain) found.set(idOf(message), message.payload.toString());
      if (missing.delete(idOf(message)) && missing.size === 0) all.resolve();
    });
    if (missing.size > 0)
      await inTime(all.promise, 'what is retained comes', retainedMs).catch(() => undefined);
    await newcomer.close();
    return found;
  }

  #allRuns(): Map<string, EngineRun[]> {
    const { model_dir } = this.#options;
    const file = join(model_dir ?? '', 'runs.log');
    const runs = new Map<string, EngineRun[]>();
    if (model_dir === null || !existsSync(file)) return runs;
    for (const line of readFileSync(file, 'utf8').split('\n').filter(Boolean)) {
      const run = JSON.parse(line) as EngineRun;
      const id = run.content.split(' ').at(-1) ?? '';
      runs.set(id, [...(runs.get(id) ?? []), run]);
    }
    return runs;
  }
}

function idOf({ topic }: Message): string {
  return topic.split('/').at(-1) ?? '';
}

/** A refusal may be followed by an answer, when the same id comes again. */
function isFinal(result: Message): boolean {
  return parsed<Result>(result).status !== 'rejected';
}
