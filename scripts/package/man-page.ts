/** What `slmd --help` and `slmd <command> --help` print. */
export interface Help {
  general: string;
  commands: Record<string, string>;
}

/**
 * slmd(1) in the man macros, made from what the commands say of themselves, so that there is one text.
 *
 * A help text is paragraphs apart by empty lines. One whose lines are indented is a list: a term, two or more
 * spaces, and what it means.
 *
 * @param date as 2026-11-25
 */
export function manPageOf({ general, commands }: Help, version: string, date: string): string {
  const [title = '', ...paragraphs] = general.split('\n\n');
  const summary = title.slice(title.indexOf(':') + 1).trim();
  const [, listed = '', ...rest] = paragraphs;
  return [
    `.TH SLMD 1 "${date}" "slmd ${version}" "slmd"`,
    '.SH NAME',
    `slmd \\- ${roff(summary)}`,
    '.SH SYNOPSIS',
    '.B slmd',
    '.I command',
    '[options]',
    '.SH COMMANDS',
    ...paragraphOf(listed),
    ...Object.entries(commands).flatMap(([name, text]) => [`.SS slmd ${roff(name)}`, ...helpOf(text)]),
    '.SH EXIT STATUS',
    ...rest.flatMap((text) => paragraphOf(text.replace(/^slmd <command> --help.*\n/, ''))),
    '.SH FILES',
    ...term('/etc/slmd/slmd.yaml', 'The configuration; every line of it may be left out.'),
    ...term('/etc/slmd/credentials/', 'mqtt-password, ca.pem, cert.pem and key.pem, for root alone.'),
    ...term(
      '/usr/share/doc/slmd/',
      'The contract on the wire, examples for a broker, and what the package is made of.',
    ),
    '',
  ].join('\n');
}

function helpOf(text: string): string[] {
  const [usage = '', ...paragraphs] = text.split('\n\n');
  const lines = usage
    .split('\n')
    .flatMap((line) => ['.br', `.B ${roff(line.trim())}`])
    .slice(1);
  return [...lines, ...paragraphs.flatMap((paragraph) => ['.PP', ...paragraphOf(paragraph)])];
}

function paragraphOf(paragraph: string): string[] {
  const lines = paragraph.split('\n').filter((line) => line.trim() !== '');
  if (!lines.every((line) => line.startsWith('  '))) return lines.flatMap((line) => [roff(line.trim())]);
  return lines.flatMap((line) => {
    const [, name, meaning] = /^ {2,4}(\S.*?) {2,}(\S.*)$/.exec(line) ?? [];
    return name === undefined || meaning === undefined ? [roff(line.trim())] : term(name, meaning);
  });
}

function term(name: string, meaning: string): string[] {
  return ['.TP', `.B ${roff(name)}`, roff(meaning)];
}

/** A backslash, a hyphen that is meant as one, and a line that would be taken for a command. */
function roff(text: string): string {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replace(/^([.'])/, '\\&$1');
}
