const fileHeaderBytes = 24;
const recordHeaderBytes = 16;
const ethernetBytes = 14;
const protocols = new Map([
  [1, 'icmp'],
  [6, 'tcp'],
  [17, 'udp'],
  [58, 'icmpv6'],
]);
const ports = new Set(['tcp', 'udp']);

/**
 * Whom a machine spoke to, from a capture of all its packets: `tcp 10.0.2.100:8883`, `udp 255.255.255.255:67`, `arp`,
 * `icmpv6 [ff02:…]`. Source: the pcap file format (little-endian), RFC 791, RFC 8200.
 *
 * @param mac the machine's own address: what others sent is left out
 */
export function spokenTo(capture: Buffer, mac: string): Set<string> {
  if (capture.readUInt32LE(0) !== 0xa1b2c3d4) throw new Error('this is no capture of packets');
  const sender = Buffer.from(mac.replaceAll(':', ''), 'hex');
  const spoken = new Set<string>();
  for (let at = fileHeaderBytes; at + recordHeaderBytes <= capture.length; ) {
    const bytes = capture.readUInt32LE(at + 8);
    const frame = capture.subarray(at + recordHeaderBytes, at + recordHeaderBytes + bytes);
    if (frame.length >= ethernetBytes && frame.subarray(6, 12).equals(sender)) spoken.add(receiverOf(frame));
    at += recordHeaderBytes + bytes;
  }
  return spoken;
}

function receiverOf(frame: Buffer): string {
  const type = frame.readUInt16BE(12);
  const packet = frame.subarray(ethernetBytes);
  if (type === 0x0806) return 'arp';
  if (type === 0x86dd) return receiverOfIpv6(packet);
  if (type !== 0x0800) return `ethernet ${type.toString(16)}`;
  const payload = packet.subarray((packet.readUInt8(0) & 0x0f) * 4);
  return withPort(packet.readUInt8(9), packet.subarray(16, 20).join('.'), payload);
}

/** A header of options may come first: it is what routers and neighbours are told of groups (RFC 3810). */
function receiverOfIpv6(packet: Buffer): string {
  const address = packet
    .subarray(24, 40)
    .toString('hex')
    .replace(/....(?!$)/g, '$&:');
  const payload = packet.subarray(40);
  const first = packet.readUInt8(6);
  if (first !== 0) return withPort(first, `[${address}]`, payload);
  return withPort(payload.readUInt8(0), `[${address}]`, payload.subarray((payload.readUInt8(1) + 1) * 8));
}

function withPort(protocol: number, address: string, payload: Buffer): string {
  const name = protocols.get(protocol) ?? `ip ${protocol}`;
  return ports.has(name) ? `${name} ${address}:${payload.readUInt16BE(2)}` : `${name} ${address}`;
}
