/** What a file of /proc says of a size, in a line such as `VmRSS:   1024 kB`; null where it has no such line. */
export function procBytes(text: string, name: string): number | null {
  const kibibytes = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(text)?.[1];
  return kibibytes === undefined ? null : Number(kibibytes) * 1024;
}
