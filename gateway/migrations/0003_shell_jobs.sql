-- What operators let a runner do beside queries, as a list of words. Runners that are there already get what new ones
-- get when nothing is said.
ALTER TABLE runners ADD COLUMN capabilities TEXT NOT NULL DEFAULT '["exec.readonly"]';

-- What a key may do beside queries, as a list of words.
ALTER TABLE keys ADD COLUMN scopes TEXT NOT NULL DEFAULT '[]';

-- A shell job's row tells more. record is one JSON object: a copy of what the runner said of itself, the command, and what
-- came of it; output is another one, apart because lists leave it out.
ALTER TABLE audit ADD COLUMN job_id BLOB CHECK (job_id IS NULL OR length(job_id) = 16);
ALTER TABLE audit ADD COLUMN rule TEXT;
ALTER TABLE audit ADD COLUMN record TEXT;
ALTER TABLE audit ADD COLUMN output TEXT;

CREATE INDEX audit_job ON audit (job_id) WHERE job_id IS NOT NULL;
CREATE INDEX audit_rule ON audit (rule) WHERE rule IS NOT NULL;
