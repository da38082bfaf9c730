import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { writeTinyTokenizer } from './tiny-tokenizer.ts';

export const exportedGraphs = join(import.meta.dirname, '../golden/exported-graphs');

/** Makes a model directory of graphs that PyTorch exported, by what stands behind `model` in their names. */
export function writeExportedModel(dir: string, suffixes: readonly string[]): void {
  mkdirSync(join(dir, 'onnx'), { recursive: true });
  for (const suffix of suffixes) {
    const name = `model${suffix}.onnx`;
    writeFileSync(join(dir, 'onnx', name), gunzipSync(readFileSync(join(exportedGraphs, `${name}.gz`))));
  }
  copyFileSync(join(exportedGraphs, 'config.json'), join(dir, 'config.json'));
  writeTinyTokenizer(dir);
}
