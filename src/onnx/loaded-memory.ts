import { dirname } from 'node:path';
import { dropFilePages, giveBackFreed } from '../lib/own-memory.ts';
import { type Library, useHugePages } from './ffi/index.ts';

/**
 * Gives back what a session's creation has left in memory, and moves what it needs to huge pages, beside the event
 * loop. Before there is a KV cache: its pages are to come one by one, as far as somebody reaches.
 */
export function settleLoaded(library: Library, graphPath: string): void {
  dropFilePages(dirname(graphPath));
  // Before what is in use is looked for: what was freed looks the same from outside.
  giveBackFreed();
  void useHugePages(library);
}
