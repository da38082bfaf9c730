import { type Dirent, existsSync, statSync } from 'node:fs';
import { mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { isAbsolute, join, relative } from 'node:path';
import { modelIdPattern } from '../model/manifest.ts';
import { SupplyError } from './errors.ts';
import { type Disk, type Pointer, readPointer, realDisk, writePointer } from './pointer.ts';

/** A download that is not complete is here, under the model's name; no model's name begins with a dot. */
const partialPrefix = '.pull-';
const removedPrefix = '.removed-';
/** What stands for the model without a name. */
export const shippedName = 'the model that ships with slmd';

export interface StoredModel {
  name: string;
  dir: string;
  bytes: number;
  /** `previous` is where a rollback goes; `partial` is a download that can be resumed. */
  state: 'active' | 'previous' | 'kept' | 'partial';
}

/**
 * The models of a machine: a directory of model directories, and a file that says which is active.
 *
 * The daemon reads the store and never writes it. A directory becomes a model by its rename, and stops
 * being one by another, so that half of one is never seen.
 */
export class ModelStore {
  readonly dir: string;
  readonly #disk: Disk;

  constructor(dir: string, disk: Disk = realDisk) {
    this.dir = dir;
    this.#disk = disk;
  }

  get pointer(): Pointer {
    return readPointer(this.dir);
  }

  /** In the order of their names. */
  async list(): Promise<StoredModel[]> {
    const { active, history } = this.pointer;
    const models: StoredModel[] = [];
    for (const entry of await directories(this.dir)) {
      const partial = entry.name.startsWith(partialPrefix);
      const name = partial ? entry.name.slice(partialPrefix.length) : entry.name;
      if (!modelIdPattern.test(name)) continue;
      const kept = name === active ? 'active' : name === history[0] ? 'previous' : 'kept';
      const dir = join(this.dir, entry.name);
      models.push({ name, dir, bytes: await bytesOf(dir), state: partial ? 'partial' : kept });
    }
    return models.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** Where a model of this name is, or would be. @throws SupplyError `model_unknown` for what is no name */
  pathOf(name: string): string {
    if (name.includes('/'))
      throw new SupplyError(
        'model_unknown',
        `${name} is a path, and the name of a model in ${this.dir} is needed: slmd model inspect says how a directory gets there`,
      );
    if (!modelIdPattern.test(name))
      throw new SupplyError(
        'model_unknown',
        `${name} is no name of a model: it must match ${modelIdPattern}`,
      );
    return join(this.dir, name);
  }

  /** Where the download of a model is, until it is complete. */
  partialOf(name: string): string {
    return join(this.dir, `${partialPrefix}${relative(this.dir, this.pathOf(name))}`);
  }

  has(name: string): boolean {
    return existsSync(this.pathOf(name));
  }

  /** Where a model is. @throws SupplyError `model_unknown` */
  modelOf(name: string): string {
    if (!this.has(name)) throw this.#unknown(name);
    return this.pathOf(name);
  }

  /** A model of the store by its name, or any directory by its path. @throws SupplyError `model_unknown` */
  find(nameOrPath: string): string {
    if (modelIdPattern.test(nameOrPath) && this.has(nameOrPath)) return this.pathOf(nameOrPath);
    const found = statSync(nameOrPath, { throwIfNoEntry: false });
    if (found?.isDirectory()) return nameOrPath;
    if (found === undefined) throw this.#unknown(nameOrPath);
    throw new SupplyError('model_unknown', `${nameOrPath} is a file: a model is a directory`);
  }

  /** Makes a complete download a model. */
  async adopt(name: string): Promise<void> {
    await rename(this.partialOf(name), this.pathOf(name));
    this.#disk.sync(this.dir);
  }

  /**
   * From here on `name` is active, for the daemon that runs and for the next; null is the model that ships.
   * Whoever calls this has tried the model. For the active one it is written again: a daemon that had gone
   * back to another looks at it anew.
   */
  activate(name: string | null): void {
    if (name !== null) this.modelOf(name);
    const { active, history } = this.pointer;
    // What was active is gone back to once; of two visits the later counts.
    const before = [active, ...history].filter((other) => other !== name);
    writePointer(this.dir, { active: name, history: [...new Set(before)] }, this.#disk);
  }

  /** @returns what is active now. @throws SupplyError `nothing_to_roll_back` */
  rollback(): string | null {
    const { history } = this.pointer;
    const [active, ...rest] = history.filter((name) => name === null || this.has(name));
    if (active === undefined)
      throw new SupplyError('nothing_to_roll_back', 'no other model was active before this one');
    writePointer(this.dir, { active, history: rest }, this.#disk);
    return active;
  }

  /** Removes a model, or what was downloaded of one. @throws SupplyError `model_in_use`, `model_unknown` */
  async remove(name: string): Promise<void> {
    const partial = this.partialOf(name);
    if (!this.has(name) && !existsSync(partial)) throw this.#unknown(name);
    const { active, history } = this.pointer;
    if (name === active || name === history[0])
      throw new SupplyError(
        'model_in_use',
        `${name} is ${name === active ? 'active' : 'what a rollback goes back to'}: activate another model first`,
      );
    await rm(partial, { recursive: true, force: true });
    if (!this.has(name)) return;
    const removed = join(this.dir, `${removedPrefix}${name}`);
    await rm(removed, { recursive: true, force: true });
    await rename(this.pathOf(name), removed);
    await rm(removed, { recursive: true, force: true });
  }

  async prepare(): Promise<void> {
    await mkdir(this.dir, { recursive: true });
  }

  #unknown(name: string): SupplyError {
    const elsewhere = isAbsolute(name) || name.includes('/') ? 'there is no' : `${this.dir} has no model`;
    return new SupplyError('model_unknown', `${elsewhere} ${name}: slmd model list shows what there is`);
  }
}

async function directories(dir: string): Promise<Dirent[]> {
  try {
    return (await readdir(dir, { withFileTypes: true })).filter((entry) => entry.isDirectory());
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

/** The bytes of all files below a directory; one that vanishes meanwhile has none. */
export async function bytesOf(dir: string): Promise<number> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  const files = entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name));
  const sizes = await Promise.all(
    files.map((file) =>
      stat(file).then(
        ({ size }) => size,
        () => 0,
      ),
    ),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}
