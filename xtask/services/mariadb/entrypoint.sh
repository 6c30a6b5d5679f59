#!/bin/bash
# Puts the test settings and keys in place, then lets the image start. Runs as
# root in the container: the image's server gives up root later.
set -euo pipefail

home=/etc/semilayer
mkdir -p "$home"
for file in server.crt server.key ca.crt; do
    install -o mysql -g mysql -m 600 "/semilayer-tls/$file" "$home/$file"
done
exec docker-entrypoint.sh mariadbd --defaults-extra-file=/semilayer/mariadb/settings.cnf \
    --ssl-ca="$home/ca.crt" --ssl-cert="$home/server.crt" --ssl-key="$home/server.key"
