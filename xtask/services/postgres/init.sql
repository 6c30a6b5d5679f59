-- The roles and the database of the tests; run once, as `admin`, on a new
-- server. Passwords come in as psql variables.

create role app       login createdb password :'app_password';
create role tlsonly   login          password :'tlsonly_password';
create role mtls      login;
create role cleartext login          password :'cleartext_password';
create role reader    login          password :'reader_password';

set password_encryption = 'md5';
create role legacy    login          password :'legacy_password';
reset password_encryption;

-- `reader` may read what `app` and `admin` make, and nothing more. In the
-- template, so that databases which tests create for themselves inherit it.
\connect template1
revoke create on schema public from public;
grant usage on schema public to reader;
alter default privileges for role app, admin grant usage on schemas to reader;
alter default privileges for role app, admin grant select on tables to reader;
alter default privileges for role app, admin grant select on sequences to reader;

\connect postgres
create database semilayer owner app;
revoke temporary on database semilayer from public;
grant temporary on database semilayer to app;

\connect semilayer
grant create on schema public to app;
