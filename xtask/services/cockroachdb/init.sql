-- The users and the database of the tests; run once, as `root`, on a new
-- server. `{app}` and the like are passwords, quoted.
CREATE USER app WITH PASSWORD {app};
GRANT admin TO app;
CREATE USER reader WITH PASSWORD {reader};
CREATE USER tlsonly WITH PASSWORD {tlsonly};
CREATE USER mtls;
CREATE DATABASE semilayer OWNER app;
