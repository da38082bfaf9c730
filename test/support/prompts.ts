import type { PromptRequest } from '../../src/contract/prompt.ts';

/** A request as it is inside the daemon, plain but for what is given. */
export function promptRequest(more: Partial<PromptRequest> = {}): PromptRequest {
  return {
    id: 'a',
    messages: [{ role: 'user', content: 'hi' }],
    max_tokens: null,
    sampling: { temperature: 0, top_k: 0, top_p: 1, min_p: 0, repetition_penalty: 1, seed: 1 },
    stop: [],
    response_format: null,
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
