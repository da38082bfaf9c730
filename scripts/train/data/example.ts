// One line of the data, and the three ways in which a line may be asked for.

export interface Example {
  prompt: string;
  expected: string;
  kind: 'command' | 'sensor' | 'other';
}

/**
 * `training`: trained phrasings and trained values. `values`: trained phrasings, with a value or a pair that
 * is never trained on. `phrasings`: held-out phrasings, with trained values.
 */
export type Purpose = 'training' | 'values' | 'phrasings';

/** How an example looks with casing, punctuation and blanks put aside: two that fold alike are the same. */
export function fold(text: string): string {
  return text
    .toLowerCase()
    .replace(/[.!?\s]+$/u, '')
    .replace(/\s+/gu, ' ');
}
