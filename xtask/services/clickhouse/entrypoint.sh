#!/bin/bash
# Puts the keys and the test settings in place, then lets the image start: it
# makes `admin` by itself, from its environment.
set -euo pipefail

home=/etc/clickhouse-server/semilayer
mkdir -p "$home"
for file in server.crt server.key ca.crt; do
    install -o clickhouse -g clickhouse -m 600 "/semilayer-tls/$file" "$home/$file"
done
cp /semilayer/clickhouse/server.xml /etc/clickhouse-server/config.d/semilayer.xml

exec /entrypoint.sh
