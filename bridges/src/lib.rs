//! The list of native drivers, a cargo feature each.

use bridge_core::Driver;

/// What package names of the family begin with; the rest is the short form.
const FAMILY: &str = "@semilayer/bridge-";

/// The drivers of this build. A `hello` names them in this order.
pub static DRIVERS: &[&dyn Driver] = &[
    #[cfg(feature = "sqlite")]
    &bridge_sqlite::Sqlite,
    #[cfg(feature = "postgres")]
    &bridge_postgres::Postgres,
    #[cfg(feature = "postgres")]
    &bridge_postgres::Cockroachdb,
    #[cfg(feature = "postgres")]
    &bridge_postgres::Neon,
    #[cfg(feature = "postgres")]
    &bridge_postgres::Supabase,
    #[cfg(feature = "clickhouse")]
    &bridge_clickhouse::Clickhouse,
    #[cfg(feature = "mongodb")]
    &bridge_mongodb::MongoDb,
    #[cfg(feature = "mysql")]
    &bridge_mysql::Mysql,
    #[cfg(feature = "mysql")]
    &bridge_mysql::Mariadb,
    #[cfg(feature = "mysql")]
    &bridge_mysql::Planetscale,
    #[cfg(feature = "redis")]
    &bridge_redis::Redis,
];

/// The driver called `name`: its package name, or the short form of one of the family (`sqlite`).
pub fn find(name: &str) -> Option<&'static dyn Driver> {
    let is_called = |driver: &&&'static dyn Driver| {
        driver.name() == name || driver.name().strip_prefix(FAMILY) == Some(name)
    };
    DRIVERS.iter().find(is_called).copied()
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use super::*;

    #[test]
    fn a_driver_is_found_by_its_package_name_and_by_its_short_form() {
        let found = |name| find(name).map(Driver::name);
        assert_eq!(found("sqlite"), Some("@semilayer/bridge-sqlite"));
        assert_eq!(found("@semilayer/bridge-sqlite"), Some("@semilayer/bridge-sqlite"));
        for unknown in ["", "SQLite", "@semilayer/bridge-", "bridge-sqlite", "oracle"] {
            assert_eq!(found(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn every_driver_has_a_name_and_a_manifest_of_its_own() {
        for driver in DRIVERS {
            assert_eq!(driver.manifest().package_name, driver.name());
            assert_eq!(DRIVERS.iter().filter(|other| other.name() == driver.name()).count(), 1);
        }
    }
}
