-- One row may stand for many refusals of one kind.
ALTER TABLE audit ADD COLUMN occurrences INTEGER NOT NULL DEFAULT 1;

-- Every filter of the log has its index, and each ends with the id, so that pages come in order. What nearly all rows
-- have in common is left out of its index: there the newest rows are found by walking the table.
CREATE INDEX audit_request ON audit (request_id);
CREATE INDEX audit_action ON audit (action) WHERE action <> 'query';
CREATE INDEX audit_outcome ON audit (outcome) WHERE outcome <> 'ok';
CREATE INDEX audit_actor_kind ON audit (actor_kind) WHERE actor_kind <> 'secret-key';
CREATE INDEX audit_actor ON audit (actor_id) WHERE actor_id IS NOT NULL;
CREATE INDEX audit_lens ON audit (lens) WHERE lens IS NOT NULL;
CREATE INDEX audit_source ON audit (source) WHERE source IS NOT NULL;
CREATE INDEX audit_runner ON audit (runner_id) WHERE runner_id IS NOT NULL;
