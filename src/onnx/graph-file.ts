/**
 * Reads what a graph is made of from its file: inputs, outputs, operators, and which files hold its weights.
 *
 * Nothing of the weights is read, so a graph of two gigabytes is described in milliseconds and a few
 * megabytes, on a machine that could not load it. Field numbers are those of onnx.proto.
 */

import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { type ElementType, elementTypes } from './graph.ts';

export interface GraphFile {
  inputs: GraphValue[];
  outputs: GraphValue[];
  nodes: GraphNode[];
  weights: GraphWeight[];
}

export interface GraphValue {
  name: string;
  /** Null for what is no tensor, or of a type that has no name here. */
  type: ElementType | null;
  /** A number where it is fixed; an empty name where nothing is said. */
  shape: (number | string)[];
}

export interface GraphNode {
  operator: string;
  inputs: string[];
  outputs: string[];
  /** Those that are numbers. */
  attributes: Map<string, number>;
}

export interface GraphWeight {
  name: string;
  type: ElementType | null;
  elements: number;
  /** The file beside the graph that holds it; null where the graph does. */
  location: string | null;
}

/** Nodes hold names and small constants; one that claims more is no node. */
const nodeBytesMax = 64 * 1024 * 1024;

/** @throws Error saying that it is no graph; file system errors as they come */
export function readGraphFile(path: string): GraphFile {
  const file = openSync(path, 'r');
  try {
    const graph: GraphFile = { inputs: [], outputs: [], nodes: [], weights: [] };
    const cursor = new Cursor(file);
    for (const field of cursor.fields(fstatSync(file).size)) {
      if (field.number === 7) readGraph(cursor, field.end, graph);
    }
    if (graph.nodes.length === 0) throw new Error('it has no nodes');
    // Before 2018 weights were listed among the inputs, and some exporters still do so.
    const weights = new Set(graph.weights.map(({ name }) => name));
    return { ...graph, inputs: graph.inputs.filter(({ name }) => !weights.has(name)) };
  } finally {
    closeSync(file);
  }
}

function readGraph(cursor: Cursor, end: number, graph: GraphFile): void {
  for (const field of cursor.fields(end)) {
    if (field.number === 1) graph.nodes.push(readNode(cursor, field));
    else if (field.number === 5) graph.weights.push(readWeight(cursor, field.end));
    else if (field.number === 11) graph.inputs.push(readValue(cursor, field.end));
    else if (field.number === 12) graph.outputs.push(readValue(cursor, field.end));
  }
}

function readNode(cursor: Cursor, { end, size }: Field): GraphNode {
  if (size > nodeBytesMax) throw new Error('it is no ONNX graph');
  const node: GraphNode = { operator: '', inputs: [], outputs: [], attributes: new Map() };
  for (const field of cursor.fields(end)) {
    if (field.number === 1) node.inputs.push(cursor.text(field));
    else if (field.number === 2) node.outputs.push(cursor.text(field));
    else if (field.number === 4) node.operator = cursor.text(field);
    else if (field.number === 5) readAttribute(cursor, field.end, node.attributes);
  }
  return node;
}

function readAttribute(cursor: Cursor, end: number, attributes: Map<string, number>): void {
  let name = '';
  let value: number | undefined;
  for (const field of cursor.fields(end)) {
    if (field.number === 1) name = cursor.text(field);
    else if (field.number === 2) value = cursor.float();
    else if (field.number === 3) value = field.value;
  }
  if (value !== undefined) attributes.set(name, value);
}

function readWeight(cursor: Cursor, end: number): GraphWeight {
  const weight: GraphWeight = { name: '', type: null, elements: 1, location: null };
  for (const field of cursor.fields(end)) {
    if (field.number === 1) for (const dim of cursor.integers(field)) weight.elements *= dim;
    else if (field.number === 2) weight.type = typeNames.get(field.value) ?? null;
    else if (field.number === 8) weight.name = cursor.text(field);
    else if (field.number === 13) {
      const [key, value] = readPair(cursor, field.end);
      if (key === 'location') weight.location = value;
    }
  }
  return weight;
}

function readPair(cursor: Cursor, end: number): [string, string] {
  const pair: [string, string] = ['', ''];
  for (const field of cursor.fields(end)) {
    if (field.number === 1 || field.number === 2) pair[field.number - 1] = cursor.text(field);
  }
  return pair;
}

function readValue(cursor: Cursor, end: number): GraphValue {
  const value: GraphValue = { name: '', type: null, shape: [] };
  for (const field of cursor.fields(end)) {
    if (field.number === 1) value.name = cursor.text(field);
    else if (field.number === 2) {
      for (const type of cursor.fields(field.end)) if (type.number === 1) readTensor(cursor, type.end, value);
    }
  }
  return value;
}

function readTensor(cursor: Cursor, end: number, value: GraphValue): void {
  for (const field of cursor.fields(end)) {
    if (field.number === 1) value.type = typeNames.get(field.value) ?? null;
    else if (field.number === 2) {
      for (const dim of cursor.fields(field.end)) value.shape.push(readDimension(cursor, dim.end));
    }
  }
}

function readDimension(cursor: Cursor, end: number): number | string {
  let dimension: number | string = '';
  for (const field of cursor.fields(end)) {
    if (field.number === 1) dimension = field.value;
    else if (field.number === 2) dimension = cursor.text(field);
  }
  return dimension;
}

const typeNames = new Map<number, ElementType>(
  Object.entries(elementTypes).map(([name, number]) => [number, name as ElementType]),
);

interface Field {
  number: number;
  /** Of an integer. */
  value: number;
  /** Of bytes, a text or a message: how long it is, and the offset behind it. */
  size: number;
  end: number;
}

const windowBytes = 256 * 1024;

/** Where a file of Protocol Buffers is being read, through a window of it. */
class Cursor {
  readonly #file: number;
  readonly #window = Buffer.alloc(windowBytes);
  #start = 0;
  #filled = 0;
  #at = 0;

  constructor(file: number) {
    this.#file = file;
  }

  /** The fields up to an offset. After each, the cursor goes on behind it, whatever of it was read. */
  *fields(end: number): Generator<Field> {
    while (this.#at < end) {
      const tag = this.#varint();
      const wireType = tag % 8;
      const field: Field = { number: (tag - wireType) / 8, value: 0, size: 0, end: this.#at };
      if (wireType === 0) field.value = this.#varint();
      else if (wireType === 1) field.size = 8;
      else if (wireType === 2) field.size = this.#varint();
      else if (wireType === 5) field.size = 4;
      else throw new Error('it is no ONNX graph');
      field.end = this.#at + field.size;
      if (field.end > end) throw new Error('it ends in the middle');
      yield field;
      this.#at = field.end;
    }
  }

  /** The text of a field that was just met. */
  text({ size }: Field): string {
    if (size > windowBytes) throw new Error('it is no ONNX graph');
    const from = this.#at - this.#fill(size);
    return this.#window.toString('utf8', from, from + size);
  }

  /** The 32-bit float of a field that was just met. */
  float(): number {
    const from = this.#at - this.#fill(4);
    return this.#window.readFloatLE(from);
  }

  /** Of a repeated field: the one it has, or all of them where they are packed. */
  *integers({ size, end, value }: Field): Generator<number> {
    if (size === 0) yield value;
    else while (this.#at < end) yield this.#varint();
  }

  #varint(): number {
    let value = 0;
    for (let shift = 0; shift < 64; shift += 7) {
      const from = this.#at - this.#fill(1);
      const byte = this.#window[from]!;
      this.#at++;
      value += (byte & 127) * 2 ** shift;
      if (byte < 128) return value;
    }
    throw new Error('it is no ONNX graph');
  }

  /** Makes bytes at the cursor part of the window. @returns where the window starts */
  #fill(bytes: number): number {
    if (this.#at < this.#start || this.#at + bytes > this.#start + this.#filled) {
      this.#start = this.#at;
      this.#filled = readSync(this.#file, this.#window, 0, windowBytes, this.#at);
      if (this.#filled < bytes) throw new Error('it ends in the middle');
    }
    return this.#start;
  }
}
