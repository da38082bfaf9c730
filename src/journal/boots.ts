import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** As many as a broker may still bring up. */
const bootsMax = 64;

/**
 * Adds the name of this process to those of the processes that had this journal before it.
 *
 * A list that cannot be read or written is none: a broker that brings up an old name is then taken for
 * another device for a while, and a start must not fail for that.
 *
 * @returns the names before it, the latest last
 */
export async function rememberBoot(dir: string, boot: string): Promise<string[]> {
  const path = join(dir, 'boots');
  const earlier = await readFile(path, 'utf8').then(namesIn, () => []);
  const names = [...earlier, boot].slice(-bootsMax);
  try {
    await writeFile(`${path}.new`, `${names.join('\n')}\n`, { mode: 0o600, flush: true });
    await rename(`${path}.new`, path);
  } catch {
    // A full disk is the journal's to report.
  }
  return earlier;
}

function namesIn(text: string): string[] {
  return text.split('\n').filter((line) => /^[0-9a-f]+$/.test(line));
}
