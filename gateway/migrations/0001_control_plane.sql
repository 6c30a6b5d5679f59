-- Ids are the sixteen bytes of a UUID of version 7; times are microseconds since 1970-01-01 UTC.

-- Single facts: hash of the admin token, id of the master key.
CREATE TABLE facts (
    name  TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Whether a runner is online is never written here: no disconnect can undo a revocation.
CREATE TABLE runners (
    id           BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    name         TEXT NOT NULL UNIQUE,
    labels       TEXT NOT NULL,
    token_hash   BLOB NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    token_last4  TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    revoked_at   INTEGER,
    last_seen_at INTEGER
) STRICT, WITHOUT ROWID;

-- origin says who may remove the source: a push removes only what a push has made.
CREATE TABLE sources (
    id                   BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    name                 TEXT NOT NULL UNIQUE,
    bridge               TEXT NOT NULL,
    credentials_location TEXT NOT NULL CHECK (credentials_location IN ('managed', 'runner-local')),
    sealed_config        BLOB,
    timeout_ms           INTEGER NOT NULL CHECK (timeout_ms > 0),
    origin               TEXT NOT NULL CHECK (origin IN ('api', 'config')),
    created_at           INTEGER NOT NULL,
    updated_at           INTEGER NOT NULL,
    CHECK ((credentials_location = 'managed') = (sealed_config IS NOT NULL))
) STRICT, WITHOUT ROWID;

CREATE TABLE assignments (
    runner_id BLOB NOT NULL REFERENCES runners (id) ON DELETE CASCADE,
    source_id BLOB NOT NULL REFERENCES sources (id) ON DELETE CASCADE,
    PRIMARY KEY (runner_id, source_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX assignments_of_source ON assignments (source_id);

-- declared is the lens as it was pushed, in JSON, with its fields in their order.
CREATE TABLE lenses (
    name       TEXT NOT NULL PRIMARY KEY,
    source_id  BLOB NOT NULL REFERENCES sources (id),
    declared   TEXT NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX lenses_of_source ON lenses (source_id);

CREATE TABLE keys (
    id          BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    kind        TEXT NOT NULL CHECK (kind IN ('secret', 'public')),
    name        TEXT NOT NULL,
    token_hash  BLOB NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    token_last4 TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    revoked_at  INTEGER
) STRICT, WITHOUT ROWID;

-- The name of a revoked key is free again.
CREATE UNIQUE INDEX keys_live_name ON keys (name) WHERE revoked_at IS NULL;

-- Refers to nothing, so that it outlives what it tells of. Ids sort by time, which is what the sweeper and the pages go by.
CREATE TABLE audit (
    id              BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    at              INTEGER NOT NULL,
    request_id      TEXT NOT NULL,
    actor_kind      TEXT NOT NULL,
    actor_id        BLOB,
    action          TEXT NOT NULL,
    outcome         TEXT NOT NULL,
    lens            TEXT,
    source          TEXT,
    target          TEXT,
    runner_id       BLOB,
    runner_instance TEXT,
    attempts        INTEGER NOT NULL,
    params_hash     BLOB,
    row_count       INTEGER NOT NULL,
    byte_count      INTEGER NOT NULL,
    duration_ms     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
