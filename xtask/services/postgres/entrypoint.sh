#!/bin/bash
# Puts the test settings before the image's own start. Runs as root in the
# container: the image's server gives up root later, so keys and settings are
# handed to its user here.
set -euo pipefail

home=/etc/semilayer
mkdir -p "$home"
for file in server.crt server.key ca.crt; do
    install -o postgres -g postgres -m 600 "/semilayer-tls/$file" "$home/$file"
done
for file in pg_hba.conf pg_ident.conf; do
    install -o postgres -g postgres -m 600 "/semilayer/postgres/$file" "$home/$file"
done
{
    cat /semilayer/postgres/settings.conf
    echo "listen_addresses = '*'"
    echo "ssl_cert_file = '$home/server.crt'"
    echo "ssl_key_file = '$home/server.key'"
    echo "ssl_ca_file = '$home/ca.crt'"
    echo "hba_file = '$home/pg_hba.conf'"
    echo "ident_file = '$home/pg_ident.conf'"
} > "$home/postgresql.conf"
chown postgres:postgres "$home/postgresql.conf"

exec docker-entrypoint.sh postgres -c "config_file=$home/postgresql.conf"
