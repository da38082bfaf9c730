import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Checkpoint } from '../../../src/builder/checkpoint.ts';
import { readArchitecture } from '../../../src/builder/config.ts';
import { buildDecoder } from '../../../src/builder/decoder.ts';
import { planBuild } from '../../../src/builder/options.ts';
import { StreamedWeights } from '../../../src/builder/weights.ts';
import { ExternalDataWriter } from '../../../src/onnx/external-data.ts';
import { type Dimension, type ElementType, GraphBuilder } from '../../../src/onnx/graph.ts';

const modelTypes: Record<string, string> = { LlamaForCausalLM: 'llama', Qwen2ForCausalLM: 'qwen2' };

/** Writes a checkpoint as the model hub's ONNX repositories are laid out, which transformers.js reads. */
export async function writeHubModel(checkpointDir: string, dir: string): Promise<void> {
  await mkdir(join(dir, 'onnx'), { recursive: true });
  const config = JSON.parse(await readFile(join(checkpointDir, 'config.json'), 'utf8')) as {
    architectures: [string];
  };
  const described = {
    ...config,
    model_type: modelTypes[config.architectures[0]],
    'transformers.js_config': { use_external_data_format: true },
  };
  await writeFile(join(dir, 'config.json'), JSON.stringify(described, null, 2));
  await writeFile(join(dir, 'generation_config.json'), '{}');
  const architecture = await readArchitecture(checkpointDir);
  const plan = planBuild(architecture, 'hub', { scales: 'nearest' });
  const graph = new MaskedGraph('decoder');
  const data = await ExternalDataWriter.create(join(dir, 'onnx', 'model_q4.onnx_data'));
  const checkpoint = await Checkpoint.open(checkpointDir);
  try {
    await buildDecoder(graph, new StreamedWeights(checkpoint, data), architecture, plan);
    await writeFile(join(dir, 'onnx', 'model_q4.onnx'), graph.encode());
  } finally {
    await checkpoint.close();
    await data.close();
  }
}

/** The same graph with the hub's interface: an attention mask in place of the lengths that follow from it. */
class MaskedGraph extends GraphBuilder {
  override input(name: string, type: ElementType, shape: readonly Dimension[]): string {
    if (name === 'seqlens_k') {
      const mask = super.input('attention_mask', 'int64', ['batch_size', 'total_sequence']);
      const one = this.constant('mask.one', 'int64', [1], BigInt64Array.of(1n));
      const total = this.node('ReduceSum', [mask, one], 'mask.sum', { attributes: { keepdims: 0 } });
      return this.#toInt32(this.node('Sub', [total, one], 'mask.last'), name);
    }
    if (name === 'total_sequence_length') {
      const dims = this.node('Shape', ['attention_mask'], 'mask.shape', { attributes: { start: 1 } });
      return this.#toInt32(dims, name);
    }
    // transformers.js asks for all logits wherever a graph lets it choose.
    if (name === 'num_logits_to_keep') return this.constant(name, type, [1], BigInt64Array.of(1n));
    return super.input(name, type, hubShape(shape));
  }

  override output(name: string, type: ElementType, shape: readonly Dimension[]): string {
    return super.output(name, type, hubShape(shape));
  }

  #toInt32(from: string, to: string): string {
    return this.node('Cast', [from], to, { attributes: { to: 6 } });
  }
}

/** transformers.js makes its empty past by the names of dimensions. */
function hubShape(shape: readonly Dimension[]): Dimension[] {
  return shape.map((size) => (size === 'batch' ? 'batch_size' : size));
}
