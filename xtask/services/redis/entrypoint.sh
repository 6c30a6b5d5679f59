#!/bin/sh
# Puts the test settings and keys in place, then starts the image's server: of
# Redis or of Valkey, named by the first argument. The users' file is written
# to when users are added.
set -eu

home=/etc/semilayer
mkdir -p "$home"
cp /semilayer-tls/server.crt /semilayer-tls/server.key /semilayer-tls/ca.crt "$home"
hash=$(printf %s "$SEMILAYER_TEST_ADMIN_PASSWORD" | sha256sum | cut -d ' ' -f 1)
printf 'user default off\nuser admin on #%s ~* &* +@all\n' "$hash" > "$home/users.acl"
cp /semilayer/redis/settings.conf "$home/settings.conf"
chmod -R u=rwX,go= "$home"
chown -R "$1:$1" "$home" 2>/dev/null || chown -R 999 "$home"

exec docker-entrypoint.sh "$1-server" "$home/settings.conf" --bind '0.0.0.0' --port 6379 --tls-port 6380 \
    --tls-cert-file "$home/server.crt" --tls-key-file "$home/server.key" \
    --tls-ca-cert-file "$home/ca.crt" --tls-auth-clients optional --aclfile "$home/users.acl"
