#!/bin/sh
# Runs in the MongoDB container on its first start.
exec mongoimport --quiet --db shop --collection customer_events --file /seed/events.ndjson
