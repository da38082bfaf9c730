import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startCommand } from '../support/command.ts';
import { childrenOf, commandOf } from '../support/processes.ts';
import { until } from '../support/wait.ts';

test('slmd demo without a terminal asks three prompts over MQTT, prints answers and timings, and ends with 0', async () => {
  const { code, stdout, stderr } = await startCommand(['demo', '--port', '0']).ran;
  assert.equal(code, 0, stderr);
  assert.equal(stdout.match(/^> /gm)?.length, 3);
  assert.equal(stdout.match(/queue .* TTFT .* TPOT .* tokens\/s/g)?.length, 3);
  assert.match(stdout, /mosquitto_pub .*slmd\/demo\/prompt/);
  assert.match(stdout, /npx slmd ask/);
});

test('slmd demo that is interrupted while it starts leaves no daemon behind', async () => {
  const { child, ran } = startCommand(['demo', '--port', '0']);
  const daemon = await until(() => childrenOf(child.pid as number)[0], 'the demo starts its daemon');
  child.kill('SIGTERM');
  assert.equal((await ran).code, 130);
  assert.equal(commandOf(daemon), '');
});
