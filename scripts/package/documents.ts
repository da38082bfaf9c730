import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { LockedPackage } from './runtime-tree.ts';

export const maintainer = 'slmd <slmd@example.invalid>';

/** The changes in Debian's form (deb-changelog(5)), from those of CHANGELOG.md that this version brings. */
export function changelogOf(changelog: string, version: string, modifiedS: number): string {
  const [, newest = ''] = changelog.split(/^## .*$/m);
  const changes = newest
    .split(/^- /m)
    .slice(1)
    .map((change) => wrapped(change.replaceAll('**', '').trim().split(/\s+/)));
  const date = new Date(modifiedS * 1000).toUTCString().replace('GMT', '+0000');
  const lines = changes.map((change) => `  * ${change.join('\n    ')}\n`).join('');
  return `slmd (${version}) unstable; urgency=medium\n\n${lines}\n -- ${maintainer}  ${date}\n`;
}

/** Lines of at most 76 characters, as the form wants them. */
function wrapped(words: readonly string[]): string[] {
  const lines: string[] = [];
  for (const word of words) {
    const last = lines.at(-1);
    if (last === undefined || last.length + word.length >= 76) lines.push(word);
    else lines[lines.length - 1] = `${last} ${word}`;
  }
  return lines;
}

/** Whose work is inside, under which license, and that license's text where the package brings it. */
export function copyrightOf(packages: readonly LockedPackage[], trees: readonly string[]): string {
  const own = `slmd is licensed under the Apache License, Version 2.0.
The text is in /usr/share/common-licenses/Apache-2.0.

It contains the work of others, under these licenses:
`;
  const parts = packages.map(({ name, version, license }) => {
    // Debian has the text of this one on every system, and wants it once.
    const text = license === 'Apache-2.0' ? null : licenseText(name, trees);
    return `${'-'.repeat(79)}\n${name} ${version}: ${license}\n${text === null ? '' : `\n${text.trim()}\n`}`;
  });
  return `${own}\n${parts.join('\n')}`;
}

function licenseText(name: string, trees: readonly string[]): string | null {
  for (const dir of trees.map((tree) => join(tree, name)).filter((dir) => existsSync(dir))) {
    const found = readdirSync(dir).find((file) => /^(licen[cs]e|copying)(\.(md|txt))?$/i.test(file));
    if (found !== undefined) return readFileSync(join(dir, found), 'utf8');
  }
  return null;
}
