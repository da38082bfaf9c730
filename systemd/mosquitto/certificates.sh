#!/bin/sh
# certificates.sh <directory> <broker's host name> <name> …
#
# Makes a certificate authority (once), a certificate for the broker under its host name, and one for each
# name: a device's is its name, `home` is who asks. On the device, put ca.pem, <name>.pem and <name>.key into
# /etc/slmd/credentials as ca.pem, cert.pem and key.pem. ca.key belongs on no device and on no broker.
set -eu
[ $# -ge 2 ] || { echo "usage: certificates.sh <directory> <broker's host name> <name> ..." >&2; exit 2; }
umask 077
mkdir -p "$1"
cd "$1"
host=$2
shift 2
# Boards without a clock come up in the past: a certificate that is not valid yet would lock them out.
days=7300

key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"; }

# issue <file> <common name> <extensions>
issue() {
  key "$1"
  openssl req -new -key "$1.key" -subj "/CN=$2" -out "$1.csr"
  printf '%s\n' "$3" >"$1.ext"
  openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days "$days" -extfile "$1.ext" -out "$1.pem" 2>/dev/null
  rm "$1.csr" "$1.ext"
  echo "$1.pem, $1.key: $2"
}

if [ ! -e ca.key ]; then
  key ca
  openssl req -x509 -new -key ca.key -days "$days" -subj '/CN=slmd home authority' -out ca.pem
  echo 'ca.pem, ca.key: the certificate authority'
fi
case $host in
  *[!0-9.]*) name="DNS:$host" ;;
  *) name="IP:$host" ;;
esac
issue broker "$host" "subjectAltName=$name
extendedKeyUsage=serverAuth"
for device in "$@"; do
  issue "$device" "$device" "extendedKeyUsage=clientAuth"
done
