import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BrokerAddresses } from '../../src/mqtt/broker-addresses.ts';
import type { TroubleCode } from '../../src/mqtt/trouble.ts';

const ended = (code: TroubleCode, lasted_ms: number | null) => ({
  trouble: { code, message: '' },
  lasted_ms,
});

test('addresses that cannot be reached give way to the next, in turn, and the first comes again', () => {
  const addresses = new BrokerAddresses({ url: 'mqtt://a', fallback_urls: ['mqtt://b', 'mqtt://c'] });
  const tried = ['refused', 'timeout', 'dns', 'closed'].map((code) => {
    const { current } = addresses;
    addresses.ended(ended(code as TroubleCode, null));
    return current;
  });
  assert.deepEqual(tried, ['mqtt://a', 'mqtt://b', 'mqtt://c', 'mqtt://a']);
});

test('an address whose connection ended, or that wants another version of MQTT, is tried once more', () => {
  const addresses = new BrokerAddresses({ url: 'mqtt://a', fallback_urls: ['mqtt://b'] });
  addresses.ended(ended('closed', 10));
  addresses.ended(ended('protocol', null));
  assert.equal(addresses.current, 'mqtt://a');
});

test('one address is tried for ever', () => {
  const addresses = new BrokerAddresses({ url: 'mqtt://a', fallback_urls: [] });
  for (let i = 0; i < 3; i++) addresses.ended(ended('refused', null));
  assert.equal(addresses.current, 'mqtt://a');
});
