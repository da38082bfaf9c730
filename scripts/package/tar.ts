/** What a package holds: the same entries give the same bytes, whoever packs them and when. */
export type Entry =
  | { kind: 'directory'; path: string; mode?: number }
  | { kind: 'file'; path: string; bytes: Buffer; mode?: number };

const blockBytes = 512;

/**
 * A tar archive (POSIX ustar) of entries that belong to root and are all of one time, sorted by path.
 *
 * @param modifiedS seconds since 1970
 * @throws where a path is too long for the format
 */
export function tarOf(entries: readonly Entry[], modifiedS: number): Buffer {
  const blocks = [...entries]
    .sort((a, b) => (a.path < b.path ? -1 : 1))
    .flatMap((entry) => {
      const bytes = entry.kind === 'file' ? entry.bytes : Buffer.alloc(0);
      return [header(entry, bytes.length, modifiedS), bytes, Buffer.alloc(-bytes.length & (blockBytes - 1))];
    });
  return Buffer.concat([...blocks, Buffer.alloc(2 * blockBytes)]);
}

function header(entry: Entry, size: number, modifiedS: number): Buffer {
  const directory = entry.kind === 'directory';
  const path = entry.path === '' ? './' : `./${entry.path}${directory ? '/' : ''}`;
  const [prefix, name] = split(path);
  const block = Buffer.alloc(blockBytes);
  const octal = (value: number, offset: number, length: number) =>
    block.write(`${value.toString(8).padStart(length - 1, '0')}\0`, offset, 'latin1');
  block.write(name, 0, 'utf8');
  octal(entry.mode ?? (directory ? 0o755 : 0o644), 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(size, 124, 12);
  octal(modifiedS, 136, 12);
  block.write(directory ? '5' : '0', 156);
  block.write('ustar\x0000root', 257, 'latin1');
  block.write('root', 297, 'latin1');
  block.write(prefix, 345, 'utf8');
  // The checksum is of the header with spaces in the checksum's place.
  block.fill(' ', 148, 156);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}

/** Ustar keeps 100 bytes of a path, and up to 155 before a slash apart. */
function split(path: string): [prefix: string, name: string] {
  if (Buffer.byteLength(path) <= 100) return ['', path];
  for (let at = path.indexOf('/', 1); at > 0 && at < path.length - 1; at = path.indexOf('/', at + 1)) {
    const [prefix, name] = [path.slice(0, at), path.slice(at + 1)];
    if (Buffer.byteLength(name) <= 100 && Buffer.byteLength(prefix) <= 155) return [prefix, name];
  }
  throw new Error(`the path is too long for a tar archive: ${path}`);
}
