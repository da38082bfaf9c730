import { diskStorage, type LogHandle, type LogStorage } from '../../src/journal/log-file.ts';
import { decodeRecord, type JournalRecord } from '../../src/journal/record.ts';

/** The moment around a record's way to the disk at which the process dies. */
export interface DiskPoint {
  record: JournalRecord['kind'];
  /** Which record of this kind, from 1. */
  hit: number;
  /** `torn`: half of what is written has reached the file, as a power cut leaves it. */
  moment: 'before_write' | 'torn' | 'written' | 'synced';
}

/** The disk under a process that kills itself at one exact point, as nothing from outside could. */
export class DyingStorage implements LogStorage {
  readonly lock = diskStorage.lock;
  readonly #point: DiskPoint;
  #seen = 0;

  constructor(point: DiskPoint) {
    this.#point = point;
  }

  async open(path: string, empty: boolean): Promise<LogHandle> {
    const handle = await diskStorage.open(path, empty);
    let reached = false;
    return {
      ...handle,
      write: async (text) => {
        const before = this.#seen;
        this.#seen += text.split('\n').filter((line) => this.#counts(line)).length;
        reached = before < this.#point.hit && this.#seen >= this.#point.hit;
        if (reached) this.#dieAt('before_write');
        if (reached && this.#point.moment === 'torn') await handle.write(text.slice(0, text.length / 2));
        if (reached) this.#dieAt('torn');
        await handle.write(text);
        if (reached) this.#dieAt('written');
      },
      datasync: async () => {
        await handle.datasync();
        if (reached) this.#dieAt('synced');
      },
    };
  }

  replace(from: string, to: string): Promise<void> {
    return diskStorage.replace(from, to);
  }

  #counts(line: string): boolean {
    return decodeRecord(line)?.kind === this.#point.record;
  }

  #dieAt(moment: DiskPoint['moment']): void {
    if (moment === this.#point.moment) process.kill(process.pid, 'SIGKILL');
  }
}
