-- The users and the database of the tests, on MySQL and on MariaDB; run once
-- on a new server. `{app}` and the like are passwords, quoted.

CREATE DATABASE semilayer CHARACTER SET utf8mb4;

CREATE USER admin@'%' IDENTIFIED BY {admin};
GRANT ALL PRIVILEGES ON *.* TO admin@'%' WITH GRANT OPTION;
CREATE USER app@'%' IDENTIFIED BY {app};
GRANT ALL PRIVILEGES ON *.* TO app@'%' WITH GRANT OPTION;

-- Refused without TLS, and without the client's certificate.
CREATE USER tls@'%' IDENTIFIED BY {tls} REQUIRE SSL;
GRANT ALL PRIVILEGES ON semilayer.* TO tls@'%';
CREATE USER mtls@'%' REQUIRE SUBJECT '/CN=semilayer-client';
GRANT ALL PRIVILEGES ON semilayer.* TO mtls@'%';
