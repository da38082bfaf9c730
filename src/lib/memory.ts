import { freemem, totalmem } from 'node:os';

/** Bytes that this process may have at most: those of the machine, or of its control group. */
export function memoryBytes(): number {
  return Math.min(totalmem(), process.constrainedMemory() || Number.POSITIVE_INFINITY);
}

/** Bytes that are free for it: a control group with room is of no use where others have filled the machine. */
export function freeMemoryBytes(): number {
  return Math.min(freemem(), process.availableMemory());
}
