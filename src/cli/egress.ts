import { spawnSync } from 'node:child_process';
import { lookup } from 'node:dns/promises';
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { parseArgs } from 'node:util';
import { configFile, readConfiguration } from './configuration.ts';
import { CommandError, exitCodes } from './exit-codes.ts';

export const usage = `slmd egress [--config <file>] [--apply]

Prints the addresses that the service needs: the broker's, and where the broker has a name, those that
the name leads to and the resolvers of /etc/resolv.conf. Loopback needs no mention.

  --config <file>  the YAML file (default: $SLMD_CONFIG, else /etc/slmd/slmd.yaml if there)
  --apply          lets slmd.service reach these and no others, until the next boot (root)

slmd-egress.service does this at each start and every quarter of an hour. With an address instead of a
name in mqtt.url, the service can't reach even a resolver.
Exit code: 0 ok, 1 the name does not resolve or systemd refuses, 3 for a configuration that is not valid.`;

export async function egress(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: { config: { type: 'string' }, apply: { type: 'boolean', default: false } },
  });
  const { config } = readConfiguration(configFile(values.config));
  const { url, fallback_urls } = config.mqtt;
  const needed = await neededAddresses([url, ...fallback_urls], resolversHere());
  if (values.apply) allow(needed.addresses);
  else for (const address of needed.addresses) console.log(address);
  if (needed.unresolved !== null)
    throw new CommandError(
      exitCodes.failed,
      `the broker's name ${needed.unresolved} does not resolve; check mqtt.url and /etc/resolv.conf`,
    );
}

export interface NeededAddresses {
  /** Without loopback and without doubles. */
  addresses: string[];
  /** The first name of the broker that leads nowhere, else null. */
  unresolved: string | null;
}

/** What connections to these addresses of a broker need to reach. A name needs resolvers, whether or not it resolves now. */
export async function neededAddresses(
  urls: readonly string[],
  resolvers: readonly string[],
  resolve: (name: string) => Promise<string[]> = addressesOf,
): Promise<NeededAddresses> {
  const hosts = urls.map((url) => new URL(url).hostname.replace(/^\[(.*)\]$/, '$1'));
  const needed = await Promise.all(
    hosts.map(async (host) => {
      if (isIP(host) !== 0) return { host, found: [host], resolvers: [] };
      return { host, found: await resolve(host).catch(() => []), resolvers };
    }),
  );
  return {
    addresses: beyondLoopback(needed.flatMap(({ found, resolvers }) => [...found, ...resolvers])),
    unresolved: needed.find(({ found }) => found.length === 0)?.host ?? null,
  };
}

/** The name servers that a resolv.conf names. Source: resolv.conf(5). */
export function resolversOf(resolvConf: string): string[] {
  return [...resolvConf.matchAll(/^nameserver\s+([0-9a-fA-F.:]+)/gm)].flatMap(([, address = '']) =>
    isIP(address) === 0 ? [] : [address],
  );
}

async function addressesOf(name: string): Promise<string[]> {
  return (await lookup(name, { all: true })).map(({ address }) => address);
}

function resolversHere(): string[] {
  try {
    return resolversOf(readFileSync('/etc/resolv.conf', 'utf8'));
  } catch {
    return [];
  }
}

function beyondLoopback(addresses: string[]): string[] {
  return [...new Set(addresses)].filter((address) => address !== '::1' && !address.startsWith('127.'));
}

/** systemctl takes its word `localhost` alone, but not in a list. */
const loopback = ['127.0.0.0/8', '::1/128'];

function allow(addresses: string[]): void {
  // The first assignment empties the list, which would otherwise only grow.
  const list = [...loopback, ...addresses].join(' ');
  const properties = ['IPAddressAllow=', `IPAddressAllow=${list}`];
  const { status, error } = spawnSync(
    'systemctl',
    ['set-property', '--runtime', 'slmd.service', ...properties],
    { stdio: ['ignore', 'inherit', 'inherit'] },
  );
  if (status !== 0)
    throw new CommandError(
      exitCodes.failed,
      `systemd did not take the addresses ${list}${error === undefined ? '' : ` (${error.message})`}`,
    );
}
