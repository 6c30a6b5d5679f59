#!/bin/sh
# Runs in the ClickHouse container on its first start.
exec clickhouse-client --user app --password example --database shop --multiquery </seed/sessions.sql
