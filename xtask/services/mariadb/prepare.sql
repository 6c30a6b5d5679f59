-- Before xtask/services/mysql/init.sql, while the new server is made: nobody
-- gets in without a password, not even for a moment.
FLUSH PRIVILEGES;
DELETE FROM mysql.global_priv WHERE User IN ('', 'root');
FLUSH PRIVILEGES;
