import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';

/** Read at a time, into the same memory: a stream's pieces are tens of megabytes before anything collects them. */
const pieceBytes = 1024 * 1024;

/**
 * SHA-256 of a file, in lower-case hex.
 *
 * @param onBytes told how many more have been read
 * @throws file system errors as they come
 */
export async function hashFile(path: string, onBytes: (bytes: number) => void): Promise<string> {
  const hash = createHash('sha256');
  const piece = Buffer.allocUnsafeSlow(pieceBytes);
  const file = await open(path, 'r');
  try {
    for (;;) {
      const { bytesRead } = await file.read(piece, 0, pieceBytes);
      if (bytesRead === 0) return hash.digest('hex');
      hash.update(piece.subarray(0, bytesRead));
      onBytes(bytesRead);
    }
  } finally {
    await file.close();
  }
}
