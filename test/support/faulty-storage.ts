import { diskStorage, type LogHandle, type LogStorage } from '../../src/journal/log-file.ts';

export type Fault = {
  on: 'lock' | 'write' | 'datasync' | 'truncate' | 'replace' | 'open';
  code: 'ENOSPC' | 'EIO' | 'EROFS' | 'EACCES';
};

/** The disk, with faults that a test switches on and off, and a count of what was asked of it. */
export class FaultyStorage implements LogStorage {
  faults: Fault[] = [];
  readonly calls = { lock: 0, write: 0, datasync: 0, truncate: 0, replace: 0, open: 0 };
  /** How much of a write that fails has reached the file all the same. */
  written_before_failure = 0;
  /** Whether what is written becomes durable only when it is told to. */
  slow = false;
  readonly #held: (() => void)[] = [];

  /** Lets the datasync that waits longest go on. */
  release(): void {
    this.#held.shift()?.();
  }

  /** Holds nothing more: a device that waits for its disk could not stop. */
  async stop(): Promise<void> {
    this.slow = false;
    while (this.held > 0) this.release();
  }

  get held(): number {
    return this.#held.length;
  }

  lock(dir: string, bootId: string): () => void {
    this.#check('lock');
    return diskStorage.lock(dir, bootId);
  }

  async open(path: string, empty: boolean): Promise<LogHandle> {
    this.#check('open');
    const handle = await diskStorage.open(path, empty);
    return {
      write: async (text) => {
        if (this.faults.some(({ on }) => on === 'write'))
          await handle.write(text.slice(0, this.written_before_failure));
        this.#check('write');
        await handle.write(text);
      },
      datasync: async () => {
        this.#check('datasync');
        if (this.slow) await new Promise<void>((resolve) => this.#held.push(resolve));
        await handle.datasync();
      },
      truncate: async (bytes) => {
        this.#check('truncate');
        await handle.truncate(bytes);
      },
      close: () => handle.close(),
    };
  }

  async replace(from: string, to: string): Promise<void> {
    this.#check('replace');
    await diskStorage.replace(from, to);
  }

  #check(on: Fault['on']): void {
    this.calls[on]++;
    const fault = this.faults.find((candidate) => candidate.on === on);
    if (fault !== undefined) throw Object.assign(new Error(`${fault.code}: ${on}`), { code: fault.code });
  }
}
