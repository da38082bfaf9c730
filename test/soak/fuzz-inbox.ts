import assert from 'node:assert/strict';
import { refused } from '../../src/contract/compose.ts';
import { errorCodes } from '../../src/contract/errors.ts';
import type { PromptRequest, Refusal } from '../../src/contract/prompt.ts';
import { idPattern } from '../../src/contract/topics.ts';
import { decodeRecord, encodeRecord } from '../../src/journal/record.ts';
import { type InboxOptions, type IncomingMessage, readMessage } from '../../src/mqtt/inbox.ts';
import { incoming } from '../../src/mqtt/incoming.ts';
import { Fuzzer } from '../support/fuzzer.ts';
import { inbox } from '../support/messages.ts';
import { okResult } from '../support/results.ts';

/** How often each reading, and each code of a refusal, was seen. */
export type Seen = Record<string, number>;

/** Large enough for what nests deeper than a stack to be read. */
const options: InboxOptions = { ...inbox, payload_bytes_max: 131_072 };
const { device, model, board } = okResult();
const origin = { device, model, board };

/** Reads so many packets of a seed; throws at the first that is neither an answer nor a refusal, and says which. */
export function fuzzInbox(seed: number, packets: number): Seen {
  const fuzzer = new Fuzzer(seed);
  const seen: Seen = {};
  for (let round = 0; round < packets; round++) {
    const message = incoming(fuzzer.packet('slmd/kitchen'), true);
    try {
      const kind = readOnce(message);
      seen[kind] = (seen[kind] ?? 0) + 1;
    } catch (error) {
      const payload = message.payload.toString('latin1').slice(0, 300);
      throw new Error(`seed ${seed}, packet ${round}, ${message.topic}: ${payload}`, { cause: error });
    }
  }
  return seen;
}

/** The kind of a reading, or the code of a refusal; throws where it is not what a reading may be. */
function readOnce(message: IncomingMessage): string {
  const reading = readMessage(message, options);
  switch (reading.kind) {
    case 'prompt':
      checkRequest(reading.request);
      return 'prompt';
    case 'refusal':
      checkRefusal(reading.refusal);
      return reading.refusal.error.code;
    case 'ignored':
      assert.notEqual(reading.why, '');
      // Nothing on the prompt topic is without an answer, but the undoing of a retained mistake.
      assert.ok(
        message.topic !== options.topics.prompt || (message.retained && message.payload.length === 0),
      );
      return 'ignored';
    default:
      assert.match(reading.id, idPattern);
      return reading.kind;
  }
}

/** A request that was accepted is whole, and the journal gives it back as it was. */
function checkRequest(request: PromptRequest): void {
  const { id, messages, sampling, max_tokens, deadline_at, received_at } = request;
  assert.match(id, idPattern);
  assert.ok(messages.length > 0 && messages.every(({ content }) => typeof content === 'string'));
  assert.ok(Object.values(sampling).every(Number.isFinite));
  assert.ok(max_tokens === null || max_tokens >= 1);
  assert.ok(deadline_at === null || deadline_at >= received_at);
  const line = encodeRecord({ kind: 'accepted', id, at, request });
  const record = decodeRecord(line.slice(0, -1));
  assert.ok(record?.kind === 'accepted' && !line.slice(0, -1).includes('\n'));
  assert.equal(encodeRecord(record), line);
}

const at = { boot_id: 'this', monotonic_ms: 0, wall_ms: 0 };

/** A refusal has a code of the closed list and can go out as a result. */
function checkRefusal(refusal: Refusal): void {
  assert.match(refusal.id, idPattern);
  assert.ok(Object.hasOwn(errorCodes, refusal.error.code), refusal.error.code);
  assert.ok(refusal.error.message.length < 1000, 'a refusal is not longer than a sentence');
  assert.equal(JSON.parse(JSON.stringify(refused(refusal, origin))).status, 'rejected');
}
