import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inOrder } from '../../scripts/device/kernel.ts';
import { spokenTo } from '../support/packets.ts';

const mac = '52:54:00:12:34:56';

test('a capture tells whom a machine spoke to, over IPv4 and IPv6, and not who spoke to it', () => {
  const capture = captureOf(
    frame(mac, '0800', ipv4(6, '0a000264'), port(8883)),
    frame(mac, '0800', ipv4(17, 'ffffffff'), port(67)),
    frame(mac, '0800', ipv4(1, '08080808'), '0800'),
    frame(mac, '0806', '0001'),
    frame(mac, '86dd', ipv6(6, 'fec0'.padEnd(32, '0')), port(443)),
    // A header of options, then what a router is told of groups.
    frame(mac, '86dd', ipv6(0, 'ff02'.padEnd(32, '0')), '3a00050200000000', '8f00'),
    frame('52:55:0a:00:02:02', '0800', ipv4(6, '01010101'), port(80)),
  );
  assert.deepEqual(
    [...spokenTo(capture, mac)],
    [
      'tcp 10.0.2.100:8883',
      'udp 255.255.255.255:67',
      'icmp 8.8.8.8',
      'arp',
      'tcp [fec0:0000:0000:0000:0000:0000:0000:0000]:443',
      'icmpv6 [ff02:0000:0000:0000:0000:0000:0000:0000]',
    ],
  );
});

test('a kernel’s modules come after those that they depend on, each once', () => {
  const dependencies = [
    'kernel/fs/jbd2/jbd2.ko.xz:',
    'kernel/fs/ext4/ext4.ko.xz: kernel/fs/mbcache.ko.xz kernel/fs/jbd2/jbd2.ko.xz kernel/lib/crc16.ko.xz',
    'kernel/lib/crc16.ko.xz:',
    'kernel/fs/mbcache.ko.xz:',
    'kernel/fs/fat/fat.ko.xz:',
  ].join('\n');
  assert.deepEqual(inOrder(dependencies, ['jbd2', 'ext4']), [
    'kernel/fs/jbd2/jbd2.ko.xz',
    'kernel/lib/crc16.ko.xz',
    'kernel/fs/mbcache.ko.xz',
    'kernel/fs/ext4/ext4.ko.xz',
  ]);
  assert.throws(() => inOrder(dependencies, ['xfs']), /xfs/);
});

function captureOf(...frames: Buffer[]): Buffer {
  const header = Buffer.alloc(24);
  header.writeUInt32LE(0xa1b2c3d4, 0);
  const records = frames.flatMap((frame) => {
    const record = Buffer.alloc(16);
    record.writeUInt32LE(frame.length, 8);
    return [record, frame];
  });
  return Buffer.concat([header, ...records]);
}

function frame(from: string, type: string, ...parts: string[]): Buffer {
  return Buffer.from(['ffffffffffff', from.replaceAll(':', ''), type, ...parts].join(''), 'hex');
}

function ipv4(protocol: number, to: string): string {
  return ['45', '00'.repeat(8), hex(protocol, 1), '00'.repeat(6), to].join('');
}

function ipv6(next: number, to: string): string {
  return ['60', '00'.repeat(5), hex(next, 1), '00'.repeat(17), to].join('');
}

function port(to: number): string {
  return `${hex(40000, 2)}${hex(to, 2)}`;
}

function hex(value: number, bytes: number): string {
  return value.toString(16).padStart(bytes * 2, '0');
}
