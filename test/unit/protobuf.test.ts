import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { GraphBuilder, microsoft } from '../../src/onnx/graph.ts';
import { ProtobufWriter } from '../../src/onnx/protobuf.ts';

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

describe('the Protocol Buffers writer', () => {
  // The first three are the examples of protobuf.dev, "Encoding".
  test('writes 150 in field 1 as 08 96 01', () => {
    assert.equal(hex(new ProtobufWriter().integer(1, 150).finish()), '089601');
  });

  test('writes "testing" in field 2 with its length', () => {
    assert.equal(hex(new ProtobufWriter().string(2, 'testing').finish()), '120774657374696e67');
  });

  test('writes a message in field 3 as its bytes with their length', () => {
    const inner = new ProtobufWriter().integer(1, 150);
    assert.equal(hex(new ProtobufWriter().message(3, inner).finish()), '1a03089601');
  });

  test('writes −1 as ten bytes, and the largest int64 as nine', () => {
    assert.equal(hex(new ProtobufWriter().integer(1, -1).finish()), '08ffffffffffffffffff01');
    assert.equal(hex(new ProtobufWriter().integer(1, 2n ** 63n - 1n).finish()), '08ffffffffffffffff7f');
  });

  test('writes a float as four little-endian bytes', () => {
    assert.equal(hex(new ProtobufWriter().float(2, 1.5).finish()), '150000c03f');
  });

  test('writes fields above 15 with a tag of two bytes', () => {
    assert.equal(hex(new ProtobufWriter().integer(20, 1).finish()), 'a00101');
  });

  test('writes repeated integers one by one, as proto2 does', () => {
    assert.equal(hex(new ProtobufWriter().integers(1, [3, 270]).finish()), '0803088e02');
  });

  test('refuses a number that is not an integer', () => {
    assert.throws(() => new ProtobufWriter().integer(1, 0.5), /not an integer/);
  });
});

describe('the graph builder', () => {
  test('writes a model of one node as the bytes that onnx.proto prescribes', () => {
    const graph = new GraphBuilder('g');
    graph.input('x', 'float32', ['n', 2]);
    graph.node('Relu', ['x'], 'y');
    graph.output('y', 'float32', ['n', 2]);
    // Fields by number, after onnx.proto: what is nested has its length before it.
    const nested = (tag: string, ...parts: string[]) => {
      const content = parts.join('');
      return tag + (content.length / 2).toString(16).padStart(2, '0') + content;
    };
    const text = (tag: string, value: string) => nested(tag, hex(Buffer.from(value)));
    const shape = nested('12', nested('0a', text('12', 'n')), nested('0a', '0802'));
    const value = (name: string) => [text('0a', name), nested('12', nested('0a', '0801', shape))];
    const node = [text('0a', 'x'), text('12', 'y'), text('1a', 'y'), text('22', 'Relu')];
    const body = nested(
      '3a',
      nested('0a', ...node),
      text('12', 'g'),
      nested('5a', ...value('x')),
      nested('62', ...value('y')),
    );
    const opsets = [nested('42', '0a00', '1011'), nested('42', text('0a', 'com.microsoft'), '1001')];
    assert.equal(hex(graph.encode()), ['0808', text('12', 'slmd'), body, ...opsets].join(''));
  });

  test('throws when a node uses a value that nothing has made', () => {
    assert.throws(() => new GraphBuilder('g').node('Relu', ['x'], 'y'), /not defined/);
  });

  test('throws when a name is given twice', () => {
    const graph = new GraphBuilder('g');
    graph.input('x', 'float32', [1]);
    assert.throws(() => graph.node('Relu', ['x'], 'x', { domain: microsoft }), /twice/);
  });
});
