#!/bin/sh
# One query for each database, then the same question to four of them. Needs GATEWAY (http://…) and KEY (a key).
set -eu

ask() {
    echo "$1 $2"
    curl --silent --show-error --fail-with-body "$GATEWAY/v1/query/$1" \
        --header "Authorization: Bearer $KEY" \
        --header 'Accept: application/x-ndjson' \
        --data "$2"
    echo
}

ask customers '{"where": {"tier": "gold"}, "orderBy": {"field": "id"}, "limit": 2}'
ask orders '{"where": {"total": {"$gte": 100}, "description": {"$contains": "LAMP"}}, "orderBy": {"field": "total", "dir": "desc"}, "limit": 2}'
ask events '{"where": {"type": {"$in": ["checkout", "logout"]}, "at": {"$gte": "2026-06-20T00:00:00Z"}}, "orderBy": {"field": "id"}, "limit": 2}'
ask carts '{"where": {"totalCents": {"$gt": 3000}}, "orderBy": {"field": "totalCents", "dir": "desc"}, "limit": 2}'
ask sessions '{"where": {"device": "phone", "$not": {"seconds": {"$lt": 300}}}, "orderBy": [{"field": "seconds", "dir": "desc"}, {"field": "id"}], "limit": 2}'

for lens in orders events carts sessions; do
    ask "$lens" '{"where": {"customerId": 1}, "orderBy": {"field": "'"$([ $lens = carts ] && echo key || echo id)"'"}, "limit": 1}'
done
