import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

interface Scope {
  after(clean: () => void): void;
}

/** A directory with these files, by path; it goes when the test is over. */
export function temporaryDirectory(scope: Scope, files: Record<string, string> = {}): string {
  const dir = mkdtempSync(join(tmpdir(), 'slmd-test-'));
  scope.after(() => rmSync(dir, { recursive: true, force: true }));
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(dir, path)), { recursive: true });
    writeFileSync(join(dir, path), text);
  }
  return dir;
}
