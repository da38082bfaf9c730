import assert from 'node:assert/strict';
import { test } from 'node:test';
import { onEachBroker } from '../support/brokers.ts';
import { Stage } from '../support/stage.ts';

onEachBroker('a retained prompt', (kind) => {
  test('[SLMD-REQ-7] is refused when a device finds it, and does not run', async (t) => {
    const stage = new Stage(t);
    const { broker, requester } = await stage.broker(kind);
    await requester.send({ id: 'left-over', prompt: 'echo again' }, { retain: true });
    stage.daemon({ url: broker.url, settings: { mqtt: { protocol: kind.protocol } } });
    const { status, error } = await requester.result('left-over');
    assert.deepEqual([status, error?.code], ['rejected', 'retained_request']);
    assert.deepEqual(requester.events('left-over'), []);
    const since = requester.heard.mark;
    await requester.publish('slmd/kitchen/prompt', '', { retain: true });
    await requester.ready();
    assert.equal((await requester.ask('echo hello')).text, 'hello');
    const others = requester.heard.all.slice(since).filter(({ topic }) => topic.includes('/result/'));
    // In 3.1.1 a live message does not say that it is retained: there the clearing one is an empty prompt.
    assert.ok(others.length <= (kind.version === 5 ? 1 : 2));
  });
});
