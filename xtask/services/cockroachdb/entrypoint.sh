#!/bin/bash
# Makes the certificates that CockroachDB wants, signed by the CA of the tests,
# and starts one node. The client's certificate of the tests is the user `mtls`.
set -euo pipefail

home=/etc/semilayer
key=/semilayer-tls/ca.key
mkdir -p "$home"
cp /semilayer-tls/ca.crt "$home/ca.crt"
/cockroach/cockroach cert create-node localhost 127.0.0.1 ::1 --certs-dir="$home" --ca-key="$key"
/cockroach/cockroach cert create-client root --certs-dir="$home" --ca-key="$key"

exec /cockroach/cockroach start-single-node --certs-dir="$home" --store=type=mem,size=512MiB \
    --accept-sql-without-tls --cert-principal-map=semilayer-client:mtls
