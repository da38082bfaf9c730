import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fuzzInbox } from '../soak/fuzz-inbox.ts';

const packets = 1_000_000;
const seed = 20_260_101;

test(`[SLMD-RES-1] [SLMD-ERR-1] each of ${packets} malformed packets is a request that can be kept, or a refusal with a code of the list`, () => {
  const seen = fuzzInbox(seed, packets);
  // A generator that no longer reaches a reading proves nothing about it.
  for (const kind of [
    ...['prompt', 'cancel', 'ack', 'ignored', 'invalid_request', 'unknown_field', 'payload_too_large'],
    ...['retained_request', 'response_topic_forbidden', 'schema_unsupported'],
  ])
    assert.ok((seen[kind] ?? 0) > packets / 20_000, `${kind} was hardly seen: ${JSON.stringify(seen)}`);
});
