#!/bin/bash
# Puts the keys in place, then lets the image start: it makes `admin` by itself.
set -euo pipefail

home=/etc/semilayer
mkdir -p "$home"
cat /semilayer-tls/server.crt /semilayer-tls/server.key > "$home/server.pem"
cp /semilayer-tls/ca.crt "$home/ca.crt"
chown -R mongodb:mongodb "$home"
chmod 600 "$home/server.pem"

exec docker-entrypoint.sh mongod --bind_ip_all --tlsMode preferTLS --tlsCertificateKeyFile "$home/server.pem" \
    --tlsCAFile "$home/ca.crt" --tlsAllowConnectionsWithoutCertificates
