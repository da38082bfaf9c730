import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import type { Architecture } from './architecture.ts';
import { BuildError, unsupported } from './errors.ts';
import { families, whyUnsupported } from './families.ts';

/**
 * Reads `config.json` of a checkpoint.
 *
 * @throws BuildError `checkpoint_missing` without the file, `checkpoint_invalid` when a field is missing
 * or of the wrong type, `architecture_unsupported` when a value asks for what is not built here
 */
export async function readArchitecture(dir: string): Promise<Architecture> {
  let text: string;
  try {
    text = await readFile(join(dir, 'config.json'), 'utf8');
  } catch (cause) {
    throw new BuildError('checkpoint_missing', `${dir} has no config.json that can be read`, { cause });
  }
  return parseArchitecture(text);
}

const namedSchema = z.object({
  architectures: z.array(z.string()).min(1),
  quantization_config: z.unknown().optional(),
});

/** As `readArchitecture`, from the file's text. */
export function parseArchitecture(text: string): Architecture {
  const json = parseJson(text);
  const named = namedSchema.safeParse(json);
  if (!named.success) {
    throw new BuildError('checkpoint_invalid', 'config.json: architectures names no model');
  }
  const { architectures, quantization_config } = named.data;
  const name = architectures[0]!;
  const translate = Object.hasOwn(families, name) ? families[name] : undefined;
  // Other families lack fields that are required here: name the family, not what it does not have.
  if (translate === undefined) throw unsupported('architectures[0]', name, whyUnsupported(name));
  if (quantization_config != null) {
    throw unsupported('quantization_config', quantization_config, 'build the model it was made from');
  }
  return translate(json, name);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new BuildError('checkpoint_invalid', 'config.json is not JSON', { cause });
  }
}
