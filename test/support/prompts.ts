import type { PromptRequest } from '../../src/contract/prompt.ts';
import { question } from '../../src/ipc/question.ts';

/** A request as it is inside the daemon, plain but for what is given. */
export function promptRequest(more: Partial<PromptRequest> = {}): PromptRequest {
  return {
    id: 'a',
    ...question('hi', null),
    stream: true,
    priority: 'normal',
    requester: 'unknown',
    metadata: null,
    received_at: 0,
    deadline_at: null,
    reply_to: null,
    traceparent: null,
    bytes: 10,
    ...more,
  };
}
