import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { ChatMessage } from '../../src/ipc/messages.ts';
import { ChatTemplate } from '../../src/model/chat-template.ts';

/** What the reference makes of a conversation, or that it refuses it: see make_chat_templates.py. */
interface GoldenCase {
  messages: ChatMessage[];
  tools: unknown[] | null;
  add_generation_prompt: boolean;
  rendered?: string;
  refused?: string;
}

interface Golden {
  tokens: { bos_token: string; eos_token: string };
  templates: Record<string, GoldenCase[]>;
}

const dir = join(import.meta.dirname, '../golden');
const golden = JSON.parse(readFileSync(join(dir, 'chat-templates.json'), 'utf8')) as Golden;
const tokens = { bosToken: golden.tokens.bos_token, eosToken: golden.tokens.eos_token };
const noon = () => new Date(2025, 2, 7, 12, 5, 9);

for (const [name, cases] of Object.entries(golden.templates)) {
  test(`conversations in a template in the manner of "${name}" become what the reference makes of them`, () => {
    const source = readFileSync(join(dir, 'chat-templates', `${name}.jinja`), 'utf8');
    const template = new ChatTemplate(source, tokens, noon);
    assert.ok(cases.length > 5);
    for (const { messages, tools, add_generation_prompt, rendered, refused } of cases) {
      const options = { tools, addGenerationPrompt: add_generation_prompt };
      if (refused === undefined) assert.equal(template.render(messages, options), rendered);
      else assert.throws(() => template.render(messages, options), { code: 'invalid_request' });
    }
  });
}
