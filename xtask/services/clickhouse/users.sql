-- The users and the database of the tests; run once, as `admin`, on a new
-- server. `{app}` and the like are passwords, quoted.
CREATE DATABASE semilayer;
CREATE USER app IDENTIFIED BY {app};
GRANT ALL ON *.* TO app WITH GRANT OPTION;
CREATE USER tls IDENTIFIED BY {tls};
GRANT ALL ON *.* TO tls;
CREATE USER mtls IDENTIFIED WITH ssl_certificate CN 'semilayer-client';
GRANT ALL ON *.* TO mtls;
CREATE USER reader IDENTIFIED BY {reader} SETTINGS readonly = 1;
GRANT SELECT ON *.* TO reader;
