import { createHash } from 'node:crypto';
import type { Result } from '../../src/contract/result.ts';

/** What became of one id. */
interface Story {
  /** Terminal results that were published, by hash: one, however often it was heard. */
  contents: Set<string>;
  /** Results that the journal has fixed, by hash: one. */
  fixed: Set<string>;
  /** How often the device said that it had ended: each is a generation that was completed and kept. */
  ended: number;
  heard: number;
  status: Result['status'] | null;
  attempt: number;
}

export interface Verdict {
  prompts: number;
  answered: number;
  statuses: Record<string, number>;
  /** Ids without a result. */
  lost: string[];
  /** Ids with results that differ in a byte. */
  conflicting: string[];
  /**
   * Ids for which two generations were completed and kept. A generation that a kill interrupted before its
   * result was on disk is none of these: it is an attempt, and counted as such.
   */
  computed_twice: string[];
  /** Attempts beyond the first, of results that were published. */
  repeated_attempts: number;
  /** Results that were heard again, byte for byte the same. */
  heard_again: number;
  refusals: Record<string, number>;
  /** Lines of the log that hold a prompt or an answer. */
  quoting: string[];
}

/** So many lines and so many texts are compared: what belongs together is logged and heard together. */
const recentMax = 100;
/** A shorter text may be in a line by chance. */
const textCharsMin = 12;

/** The books of a run: who was asked, what was heard, what the device says it did. */
export class Books {
  readonly #stories = new Map<string, Story>();
  readonly #refusals: Record<string, number> = {};
  readonly #lines: string[] = [];
  readonly #texts: string[] = [];
  readonly #quoting = new Set<string>();

  /** A new id, and what it asks. */
  asked(id: string, prompt: string): void {
    this.#said(prompt);
    this.#stories.set(id, {
      contents: new Set(),
      fixed: new Set(),
      ended: 0,
      heard: 0,
      status: null,
      attempt: 0,
    });
  }

  /** A result from the wire. Returns it where it is an end; a refusal is none, because the id may come again. */
  heard(payload: Buffer): Result | null {
    const result = JSON.parse(payload.toString()) as Result;
    const story = this.#of(result.id);
    if (result.status === 'rejected') {
      const code = result.error?.code ?? 'none';
      this.#refusals[code] = (this.#refusals[code] ?? 0) + 1;
      return null;
    }
    this.#said(result.text);
    story.contents.add(hashOf(payload));
    story.heard++;
    story.status = result.status;
    story.attempt = result.attempt;
    return result;
  }

  /** A line of the device's log: it may say that a request has ended, and must quote nobody. */
  logged(line: string): void {
    if (line.includes('"msg":"ended"')) this.#of((JSON.parse(line) as { id: string }).id).ended++;
    if (this.#texts.some((text) => line.includes(text))) this.#quoting.add(line);
    keep(this.#lines, line);
  }

  /** A result that stands in the journal. */
  fixed(id: string, result: string): void {
    this.#of(id).fixed.add(hashOf(result));
  }

  isContentOf(id: string, payload: Buffer | string): boolean {
    return this.#of(id).contents.has(hashOf(payload));
  }

  verdict(): Verdict {
    const all = [...this.#stories];
    const idsWhere = (accepts: (story: Story) => boolean) =>
      all.filter(([, story]) => accepts(story)).map(([id]) => id);
    const sum = (count: (story: Story) => number) =>
      all.reduce((total, [, story]) => total + count(story), 0);
    const lost = idsWhere(({ heard }) => heard === 0);
    return {
      prompts: all.length,
      answered: all.length - lost.length,
      statuses: this.#statuses(),
      lost,
      conflicting: idsWhere(({ contents, fixed }) => new Set([...contents, ...fixed]).size > 1),
      computed_twice: idsWhere(({ ended, fixed }) => ended > 1 || fixed.size > 1),
      repeated_attempts: sum(({ attempt }) => Math.max(0, attempt - 1)),
      heard_again: sum(({ heard }) => Math.max(0, heard - 1)),
      refusals: { ...this.#refusals },
      quoting: [...this.#quoting],
    };
  }

  #statuses(): Record<string, number> {
    const statuses: Record<string, number> = {};
    for (const { status } of this.#stories.values())
      if (status !== null) statuses[status] = (statuses[status] ?? 0) + 1;
    return statuses;
  }

  /** What must not be in the log, as it would stand in a line of JSON. */
  #said(text: string): void {
    if (text.length < textCharsMin) return;
    const written = JSON.stringify(text).slice(1, -1);
    for (const line of this.#lines) if (line.includes(written)) this.#quoting.add(line);
    keep(this.#texts, written);
  }

  /** An id that nobody asked is a broken run, not a finding. */
  #of(id: string): Story {
    const story = this.#stories.get(id);
    if (story === undefined) throw new Error(`nobody asked ${id}`);
    return story;
  }
}

function keep(recent: string[], text: string): void {
  recent.push(text);
  if (recent.length > recentMax) recent.shift();
}

function hashOf(bytes: Buffer | string): string {
  return createHash('sha256').update(bytes).digest('base64');
}
