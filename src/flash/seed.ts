import type { BoardPlan } from './boards.ts';
import { cloudConfig, yaml } from './cloud-init.ts';
import { cleanUserData, firstBootScript } from './first-boot.ts';

/** The files of a plan, read: what goes onto the card. */
export interface Secrets {
  ca: string | null;
  cert: string | null;
  key: string | null;
}

export interface SeedOptions {
  plan: BoardPlan;
  secrets: Secrets;
  /** Names this flashing: cloud-init takes a card with a known instance for one it has seen. */
  instance_id: string;
  /** Seconds since 1970: a clock that says less is wrong. */
  now_s: number;
  /** File name of slmd's package in the root of the boot partition. */
  package_name: string;
  /** Name of a model's directory in the root of the boot partition; null for the model that ships. */
  model: string | null;
}

/** cloud-init's three files (data source NoCloud). */
export interface Seed {
  'user-data': string;
  'meta-data': string;
  'network-config': string;
}

/** Where the unit takes its credentials from, by these names: the configuration needs no line for them. */
const credentials = '/etc/slmd/credentials';
const configuration = '/etc/slmd/slmd.yaml';
const firstBoot = '/usr/local/sbin/slmd-first-boot';
/** Where a model of the user's is put on the board. */
const modelsDirectory = '/usr/local/share/slmd/models';
const defaultUser = 'slmd-admin';

/** What a board reads at its first boot: pure, so that every line of it can be looked at. */
export function seedOf(options: SeedOptions): Seed {
  const { plan, instance_id } = options;
  return {
    'user-data': cloudConfig(userData(options)),
    'meta-data': yaml({ 'instance-id': instance_id, dsmode: 'local' }),
    'network-config': yaml(networkOf(plan)),
  };
}

function userData({ plan, secrets, now_s, package_name, model }: SeedOptions): object {
  const { device, ssh_key, user = defaultUser, broker_password } = plan;
  return {
    hostname: device,
    manage_etc_hosts: true,
    ssh_pwauth: false,
    package_update: false,
    users:
      ssh_key === undefined
        ? []
        : [
            {
              name: user,
              shell: '/bin/bash',
              sudo: 'ALL=(ALL) NOPASSWD:ALL',
              lock_passwd: true,
              ssh_authorized_keys: [ssh_key],
            },
          ],
    bootcmd: clockCommands(now_s),
    write_files: [
      file(configuration, '0644', yaml(configurationOf(plan, model))),
      ...secretFiles(secrets, broker_password),
      file(
        firstBoot,
        '0700',
        firstBootScript({
          package_name,
          model,
          models_directory: modelsDirectory,
          ssh: ssh_key !== undefined,
          clean_user_data: cleanUserData(device, clockCommands(now_s)),
        }),
      ),
    ],
    runcmd: [[firstBoot]],
  };
}

/** Boards have no clock of their own: without it a certificate of today is not valid yet. */
function clockCommands(now_s: number): string[][] {
  return [['sh', '-c', `[ "$(date +%s)" -ge ${now_s} ] || date -u -s "@${now_s}"`]];
}

function configurationOf(plan: BoardPlan, model: string | null): object {
  const { device, broker_url, broker_username } = plan;
  return {
    device,
    mqtt: {
      url: broker_url,
      ...(broker_username === undefined ? {} : { username: broker_username }),
    },
    ...(model === null ? {} : { model: { dir: `${modelsDirectory}/${model}` } }),
  };
}

function secretFiles({ ca, cert, key }: Secrets, password: string | undefined): object[] {
  const files = { 'mqtt-password': password, 'ca.pem': ca, 'cert.pem': cert, 'key.pem': key };
  return Object.entries(files).flatMap(([name, content]) =>
    content === undefined || content === null ? [] : [file(`${credentials}/${name}`, '0600', content)],
  );
}

/** Wired if there is a wire: `e*` on every Raspberry Pi, and `usb0` on an emulated one. */
function networkOf({ wifi_ssid, wifi_password, wifi_country }: BoardPlan): object {
  return {
    network: {
      version: 2,
      ethernets: { wired: { match: { name: '[eu]*' }, dhcp4: true, optional: true } },
      ...(wifi_ssid === undefined
        ? {}
        : {
            wifis: {
              wlan0: {
                dhcp4: true,
                optional: true,
                'regulatory-domain': wifi_country,
                'access-points': {
                  [wifi_ssid]: wifi_password === undefined ? {} : { password: wifi_password },
                },
              },
            },
          }),
    },
  };
}

function file(path: string, permissions: string, content: string): object {
  return { path, permissions, owner: 'root:root', content };
}
