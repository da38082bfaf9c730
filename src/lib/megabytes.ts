/** A size as a person reads it: decimal megabytes, as disks and downloads are sold. */
export function megabytes(bytes: number, digits = 0): string {
  return `${(bytes / 1e6).toFixed(digits)} MB`;
}
