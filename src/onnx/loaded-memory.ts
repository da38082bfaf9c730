import { dirname } from 'node:path';
import { Dispensable } from '../lib/dispensable.ts';
import { dropFilePages, giveBackFreed } from '../lib/own-memory.ts';
import type { Library } from './ffi/index.ts';
import { HugePages } from './huge-pages.ts';

/**
 * Gives back what a session's creation has left in memory, and moves what it needs to huge pages, beside the event
 * loop. Before there is a KV cache: its pages are to come one by one, as far as somebody reaches. Where any of it fails, the
 * model runs all the same.
 */
export function settleLoaded(library: Library, graphPath: string): void {
  void filePages.attempt(() => dropFilePages(dirname(graphPath)));
  // Before what is in use is looked for: what was freed looks the same from outside.
  void freed.attempt(giveBackFreed);
  void new HugePages(library).useAll();
}

const filePages = new Dispensable('what was read of the model stays in memory');
const freed = new Dispensable('what loading has freed stays in memory');
