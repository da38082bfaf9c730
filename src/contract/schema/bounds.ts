/** Bounds of a schema. Each state of a grammar costs a look at the whole vocabulary. */
export const schemaBounds = {
  /** More than any schema that a small model could follow. */
  bytes_max: 16_384,
  /** Schemas inside schemas; what reads them is recursive. */
  depth_max: 32,
  /** Of all that stands in a schema, values of an `enum` and annotations too: it is handed on from thread to thread. */
  nesting_max: 256,
  /** Of `minLength`, `maxLength` and a pattern's repeats: each character that a grammar counts is a state. */
  repeat_max: 256,
  /** Characters of a pattern, each counted as often as it repeats. */
  pattern_characters_max: 2048,
  /** Of `minItems` and `maxItems`. */
  items_max: 1024,
  /** Values of all `enum`, and members of all objects. */
  entries_max: 1024,
  /** Of the bounds of a `number`: beyond it, and with more decimals, decimal and binary disagree. */
  number_max: 1_000_000_000,
  decimals_max: 6,
} as const;
