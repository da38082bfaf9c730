import { parseArgs } from 'node:util';
import { stringify } from 'yaml';
import { describeProfile } from '../config/profile-in-force.ts';
import { configFile, readConfiguration } from './configuration.ts';
import { CommandError, exitCodes } from './exit-codes.ts';

export const usage = `slmd config check [--config <file>] [--show]

Reads the configuration as the daemon would and reports every problem at once, with its path.

  --config <file>  the YAML file (default: $SLMD_CONFIG, else /etc/slmd/slmd.yaml if there)
  --show           prints the complete configuration in force; a password is never shown

Every setting has a variable: mqtt.url is SLMD_MQTT_URL, and it wins over the file.
Exit code: 0 valid, 3 not.`;

export async function config(args: string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { config: { type: 'string' }, show: { type: 'boolean', default: false } },
  });
  if (positionals[0] !== 'check' || positionals.length > 1)
    throw new CommandError(exitCodes.usage, `there is slmd config check, and nothing else\n\n${usage}`);
  const file = configFile(values.config);
  const { config, profile } = readConfiguration(file);
  if (values.show) {
    const password = config.mqtt.password === null ? null : '(set)';
    // What a file can say: trust is what the two settings about keys come to.
    const { trust: _, ...model } = config.model;
    process.stdout.write(
      stringify({ ...config, profile: profile.name, mqtt: { ...config.mqtt, password }, model }),
    );
  } else {
    console.log(
      `${file ?? 'defaults and environment'}: valid; device ${config.device}, profile ${describeProfile(profile)}, broker ${config.mqtt.url}`,
    );
  }
}
