import { stringify } from 'yaml';

/** For cloud-init: long lines stay whole, and texts that YAML could take for something else are quoted. */
export function yaml(document: object): string {
  return stringify(document, { lineWidth: 0, version: '1.1' });
}

/** User data as cloud-init knows it, by its first line. */
export function cloudConfig(document: object): string {
  return `#cloud-config\n${yaml(document)}`;
}
