import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Settings } from './environment.ts';

/** Files of /etc/slmd/credentials as the unit's `LoadCredential=slmd:…` names them. */
const files = {
  'slmd_mqtt-password': 'password_file',
  'slmd_ca.pem': 'ca_file',
  'slmd_cert.pem': 'cert_file',
  'slmd_key.pem': 'key_file',
};

/** What a service manager hands over needs no line in the configuration: a file that is there is used. */
export function readCredentials({ CREDENTIALS_DIRECTORY: dir }: NodeJS.ProcessEnv): Settings {
  if (!dir) return {};
  const found = Object.entries(files)
    .map(([name, setting]) => [setting, join(dir, name)] as const)
    .filter(([, path]) => existsSync(path));
  return found.length === 0 ? {} : { mqtt: Object.fromEntries(found) };
}
