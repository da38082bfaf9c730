import { cloudConfig } from './cloud-init.ts';

export interface FirstBootOptions {
  package_name: string;
  model: string | null;
  models_directory: string;
  /** Whether somebody may log in. */
  ssh: boolean;
  /** What takes the place of the user data that held secrets. */
  clean_user_data: string;
}

/**
 * What the board does once, as root, when it first comes up: installs slmd, puts the model in its place,
 * and takes everything secret off the boot partition, which any computer can read. That happens last and
 * in any case; the secrets lie in /etc by then, for root alone.
 */
export function firstBootScript({
  package_name,
  model,
  models_directory,
  ssh,
  clean_user_data,
}: FirstBootOptions): string {
  const boot = '"$boot"';
  return `#!/bin/sh
# Written by slmd flash; runs once.
exec >>/var/log/slmd-first-boot.log 2>&1
boot=/boot/firmware
[ -d "$boot" ] || boot=/boot

finish() {
  for name in user-data network-config; do
    [ -f ${boot}/$name ] && shred -n 1 -z -u ${boot}/$name
  done
  cat >${boot}/user-data <<'CLEAN'
${clean_user_data}CLEAN
  printf 'network: {config: disabled}\\n' >${boot}/network-config
  rm -rf ${boot}/${package_name}${model === null ? '' : ` ${boot}/${model}`}
  sync
  rm -f "$0"
}
trap finish EXIT
${
  model === null
    ? ''
    : `
mkdir -p ${models_directory}
cp -r ${boot}/${model} ${models_directory}/
`
}
dpkg -i --force-confold ${boot}/${package_name} || { echo 'slmd was not installed'; exit 1; }
# Not waited for: the service is up when its broker has answered, and the secrets go before that.
systemctl --no-block enable --now slmd.service
${ssh ? 'systemctl enable --now ssh.service || systemctl enable --now sshd.service\n' : ''}`;
}

/**
 * The user data of every boot but the first. It stays, for without it cloud-init would take the card for
 * a new one; and it still puts a clock right that is behind the day of the flashing.
 */
export function cleanUserData(device: string, bootcmd: string[][]): string {
  const kept = { hostname: device, manage_etc_hosts: true, ssh_pwauth: false, bootcmd };
  return cloudConfig(kept);
}
