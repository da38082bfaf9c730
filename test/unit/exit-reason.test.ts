import assert from 'node:assert/strict';
import { test } from 'node:test';
import { exitReason } from '../../src/supervisor/exit-reason.ts';

const noKills = { before: 3, after: 3 };

test('an exit code or a signal by itself is a crash', () => {
  for (const exit of [
    { code: 7, signal: null },
    { code: 0, signal: null },
    { code: null, signal: 'SIGSEGV' },
    { code: null, signal: 'SIGKILL' },
    { code: null, signal: null },
  ])
    assert.equal(exitReason(exit, '', noKills, false).code, 'engine_crashed', JSON.stringify(exit));
});

test('a SIGKILL while the kernel counted a kill for memory is the want of memory', () => {
  const killed = { code: null, signal: 'SIGKILL' };
  assert.equal(exitReason(killed, '', { before: 3, after: 4 }, false).code, 'out_of_memory');
  assert.equal(exitReason(killed, '', { before: null, after: null }, false).code, 'engine_crashed');
});

test('another signal while the kernel killed another process for memory is a crash', () => {
  const reason = exitReason({ code: null, signal: 'SIGSEGV' }, '', { before: 3, after: 4 }, false);
  assert.equal(reason.code, 'engine_crashed');
});

test('a process that says it has no memory has none', () => {
  for (const words of [
    'FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory',
    '# Fatal process out of memory: Zone',
    '# Fatal JavaScript out of memory: MemoryChunk allocation failed during deserialization.',
    "terminate called after throwing an instance of 'std::bad_alloc'",
    'Failed to allocate memory for requested buffer of size 123',
    'fork: Cannot allocate memory',
  ])
    assert.equal(
      exitReason({ code: 134, signal: null }, `${words}\n`, noKills, false).code,
      'out_of_memory',
      words,
    );
});

test('the last words are what was wrong and where, not what a runtime prints around it', () => {
  const printed = `/slmd/engine.js:7
    throw new Error('no such file');
    ^

Error: no such file
    at open (/slmd/engine.js:7:11)
    at main (/slmd/engine.js:9:1)

Node.js v24.0.0
`;
  const { detail } = exitReason({ code: 1, signal: null }, printed, noKills, false);
  assert.ok(detail.endsWith(': no such file'));
  assert.ok(detail.includes('engine.js:7') && !detail.includes('Node.js'), detail);
});

test('the reason is one line and ends with the last words of the process, at a bounded length', () => {
  const tail = `first\n${'x'.repeat(4000)}\n\n`;
  const { message } = exitReason({ code: 1, signal: null }, tail, noKills, false);
  assert.ok(!message.includes('\n') && !message.includes('first'));
  assert.ok(message.endsWith('xxx') && message.length < 400);
});

test('once a process has a prompt its last words are for that requester, and not for the log', () => {
  const exit = { code: 1, signal: null };
  const { message, detail } = exitReason(exit, 'cannot tokenize a secret\n', noKills, true);
  assert.ok(!message.includes('secret') && detail.startsWith(message) && detail.includes('secret'));
  assert.match(exitReason(exit, 'no such library\n', noKills, false).message, /no such library/);
});
