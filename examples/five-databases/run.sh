#!/bin/sh
# The databases by Docker Compose, a gateway and a runner on this machine, and the queries of ask.sh.
#
#   ./run.sh          stays up until Ctrl-C
#   ./run.sh --once   leaves after the queries
#
# With databases of your own set SEMILAYER_SOURCE_…, as in runner.env, and Compose is not used. SEMILAYER_BIN is a folder
# with the two programs, which are built without it; LISTEN is the gateway's address.
set -eu
cd "$(dirname "$0")"

LISTEN=${LISTEN:-127.0.0.1:8787}
export GATEWAY="http://$LISTEN"

if ! env | grep -q '^SEMILAYER_SOURCE_POSTGRES_'; then
    docker compose up --detach --wait
    set -a
    . ./runner.env
    set +a
fi
if [ -z "${SEMILAYER_BIN:-}" ]; then
    cargo build --release --package semilayer-gateway --package semilayer-runner
    SEMILAYER_BIN=${CARGO_TARGET_DIR:-../../target}/release
fi

STATE=$(mktemp -d)
GATEWAY_PID='' RUNNER_PID=''
finish() {
    # The runner first: it says goodbye to the gateway.
    for pid in $RUNNER_PID $GATEWAY_PID; do
        kill "$pid" && wait "$pid" || true
    done
    rm -r "$STATE"
}
trap finish EXIT
trap 'exit 130' INT TERM

# Retries a command for twenty seconds.
until_it_works() {
    tries=200
    until "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || { echo "gave up on: $*" >&2; exit 1; }
        sleep 0.1
    done
}

SEMILAYER_ADMIN_TOKEN=$(head -c 24 /dev/urandom | base64 | tr '+/' '-_')
export SEMILAYER_ADMIN_TOKEN SEMILAYER_GATEWAY_API="$GATEWAY"
"$SEMILAYER_BIN/semilayer-gateway" serve --listen "$LISTEN" --state-dir "$STATE" >"$STATE/gateway.log" 2>&1 &
GATEWAY_PID=$!
until_it_works curl --silent --fail "$GATEWAY/ready"

token() { awk '$1 == "token" { print $2 }'; }
"$SEMILAYER_BIN/semilayer-gateway" push shop.yaml
SEMILAYER_RUNNER_TOKEN=$("$SEMILAYER_BIN/semilayer-gateway" runners create here | token)
"$SEMILAYER_BIN/semilayer-gateway" assign here postgres mysql mongodb redis clickhouse
KEY=$("$SEMILAYER_BIN/semilayer-gateway" keys create ask --kind public | token)
export KEY SEMILAYER_RUNNER_TOKEN SEMILAYER_RUNNER_ID=here SEMILAYER_GATEWAY_URL="ws://$LISTEN/connect"

"$SEMILAYER_BIN/semilayer-runner" doctor
"$SEMILAYER_BIN/semilayer-runner" start --health-port 0 >"$STATE/runner.log" 2>&1 &
RUNNER_PID=$!
# A lens answers once its runner is there.
until_it_works curl --silent --fail "$GATEWAY/v1/count/customers" --header "Authorization: Bearer $KEY" --data '{}'

echo
./ask.sh
if [ "${1:-}" != --once ]; then
    echo "The gateway is $GATEWAY, the key is $KEY. Ctrl-C ends both; 'docker compose down' ends the databases."
    wait "$RUNNER_PID"
fi
