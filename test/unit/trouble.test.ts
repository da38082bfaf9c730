import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ProtocolChoice } from '../../src/mqtt/link.ts';
import { disconnectTrouble, type TroubleCode, troubleOf } from '../../src/mqtt/trouble.ts';

const url = 'mqtts://broker:8883';

function withCode(code: string | number, message = 'text'): Error {
  return Object.assign(new Error(message), { code });
}

test('[FAULT-12] each error of a socket, of TLS and of a CONNACK has its trouble', () => {
  const codes: Record<string, (string | number)[]> = {
    dns: ['ENOTFOUND', 'EAI_AGAIN'],
    refused: ['ECONNREFUSED'],
    unreachable: ['EHOSTUNREACH', 'ENETUNREACH', 'EADDRNOTAVAIL', 3, 136, 137],
    timeout: ['ETIMEDOUT'],
    closed: ['ECONNRESET', 'EPIPE'],
    tls: [
      'CERT_HAS_EXPIRED',
      'DEPTH_ZERO_SELF_SIGNED_CERT',
      'SELF_SIGNED_CERT_IN_CHAIN',
      'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
      'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
      'ERR_TLS_CERT_ALTNAME_INVALID',
      'ERR_SSL_WRONG_VERSION_NUMBER',
      'EPROTO',
    ],
    protocol: [1, 2, 132, 133],
    unsuitable: [154, 155, 156, 157],
    credentials: [4, 5, 134, 135, 140],
  };
  for (const [trouble, errors] of Object.entries(codes))
    for (const code of errors) {
      const found = troubleOf(withCode(code), url);
      assert.equal(found.code, trouble, String(code));
      assert.ok(found.message.includes(url) && !found.message.includes('\n'), String(code));
    }
});

test('a certificate that is not of this time is put down to the board’s clock, too, and no other', () => {
  const year = String(new Date().getUTCFullYear());
  for (const [code, dated] of [
    ['CERT_NOT_YET_VALID', true],
    ['CERT_HAS_EXPIRED', true],
    ['SELF_SIGNED_CERT_IN_CHAIN', false],
  ] as const)
    assert.equal(troubleOf(withCode(code), url).message.includes(year), dated, code);
});

test('a broker that sends its clients elsewhere is not what another device does, and says where', () => {
  const { code, message } = disconnectTrouble(156, url, 'other:1883');
  assert.equal(code, 'unsuitable');
  assert.ok(message.includes('other:1883'));
  assert.equal(disconnectTrouble(139, url).code, 'closed');
});

test('a broker that is not reached or stops answering is a timeout, one that never answered is silent, any other error without a code a close', () => {
  assert.equal(troubleOf(new Error('connack timeout'), url, false).code, 'timeout');
  assert.equal(troubleOf(new Error('connack timeout'), url, true).code, 'silent');
  assert.equal(troubleOf(new Error('Keepalive timeout'), url).code, 'timeout');
  assert.equal(troubleOf(new Error('something else'), url).code, 'closed');
  assert.equal(troubleOf('a text', url).code, 'closed');
});

/** The versions that are spoken, from the first attempt to the one after the last of these troubles. */
function versions(wanted: 'auto' | '5.0' | '3.1.1', ...troubles: (TroubleCode | 'understood')[]): number[] {
  const choice = new ProtocolChoice(wanted);
  return [
    choice.version,
    ...troubles.map((code) => {
      if (code === 'understood') choice.understood();
      else choice.failed({ code, message: '' });
      return choice.version;
    }),
  ];
}

test('one connection that is cut does not change the version, two in a row do', () => {
  assert.deepEqual(versions('auto', 'closed'), [5, 5]);
  assert.deepEqual(versions('auto', 'closed', 'closed'), [5, 5, 4]);
});

test('two cuts with an answer or another trouble between them do not change the version', () => {
  assert.deepEqual(versions('auto', 'closed', 'understood', 'closed'), [5, 5, 5, 5]);
  assert.deepEqual(versions('auto', 'closed', 'refused', 'closed', 'timeout', 'closed'), [5, 5, 5, 5, 5, 5]);
});

test('a broker that refuses the version is spoken to in the other one at once', () => {
  assert.deepEqual(versions('auto', 'protocol'), [5, 4]);
});

test('where 3.1.1 fails as well, MQTT 5 has another chance', () => {
  assert.deepEqual(versions('auto', 'protocol', 'protocol'), [5, 4, 5]);
  assert.deepEqual(versions('auto', 'protocol', 'closed', 'closed'), [5, 4, 4, 5]);
});

test('a broker that has understood MQTT 5 is not taken for older because something before it hangs up', () => {
  assert.deepEqual(versions('auto', 'understood', 'closed', 'closed', 'closed'), [5, 5, 5, 5, 5]);
  assert.deepEqual(versions('auto', 'understood', 'closed', 'protocol'), [5, 5, 5, 4]);
});

test('where 3.1.1 is hung up on too, it was not the version: it is tried again only right after MQTT 5', () => {
  assert.deepEqual(versions('auto', 'closed', 'closed', 'closed', 'closed', 'closed'), [5, 5, 4, 5, 4, 5]);
  assert.deepEqual(versions('auto', 'closed', 'closed', 'understood', 'closed'), [5, 5, 4, 4, 4]);
});

test('a version that is configured never changes', () => {
  const troubles: TroubleCode[] = ['protocol', 'closed', 'closed', 'closed'];
  assert.deepEqual(new Set(versions('5.0', ...troubles)), new Set([5]));
  assert.deepEqual(new Set(versions('3.1.1', ...troubles)), new Set([4]));
});

test('a fallback is tried without a wait, once; the way back waits', () => {
  const choice = new ProtocolChoice('auto');
  choice.failed({ code: 'protocol', message: '' });
  assert.deepEqual([choice.changed(), choice.changed()], [true, false]);
  choice.failed({ code: 'protocol', message: '' });
  assert.deepEqual([choice.version, choice.changed()], [5, false]);
});

test('[SLMD-DUP-1] a broker that gives the client id to another connection says so by code 142 of MQTT 5', () => {
  assert.equal(disconnectTrouble(142, url).code, 'taken_over');
  for (const code of [0, 139, 149]) assert.equal(disconnectTrouble(code, url).code, 'closed');
});
