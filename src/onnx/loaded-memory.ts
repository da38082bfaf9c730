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
  // What was freed, too, before what is in use is looked for: it looks the same from outside.
  giveBackRead(graphPath);
  void new HugePages(library).useAll();
}

/**
 * Gives back what was read of a model's files, and what was freed. With each token that was not met before, a piece of the
 * embedding is mapped with its neighbours; an answer reads few of them again, from the page cache.
 */
export function giveBackRead(graphPath: string): void {
  void filePages.attempt(() => dropFilePages(dirname(graphPath)));
  void freed.attempt(giveBackFreed);
}

const filePages = new Dispensable('what was read of the model stays in memory');
const freed = new Dispensable('what was freed stays in memory');
