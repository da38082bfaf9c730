/** A process that builds one model, and prints by how many bytes that raised its peak memory. */

import { buildModel } from '../../src/builder/build-model.ts';
import { Calibration } from '../../src/builder/calibrate.ts';
import { rssPeakBytes } from './processes.ts';

const [checkpoint, outDir, quantization, calibrationText] = process.argv.slice(2);
const before = rssPeakBytes();
await buildModel(checkpoint!, outDir!, {
  quantization: quantization as 'int4' | 'float32',
  ...(calibrationText !== undefined && { calibration: new Calibration([calibrationText]) }),
});
console.log(rssPeakBytes() - before);
