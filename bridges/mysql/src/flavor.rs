//! What tells the three drivers of this crate apart: one implementation, and data.

use std::sync::LazyLock;

use bridge_core::Declaration;
use bridge_sql::{Aggregates, Dialect, MARIADB, MYSQL};
use protocol::{AggregateCapabilities, Capabilities, Field, FieldKind, Manifest};

use crate::translate::{MARIADB_CASTS, MYSQL_CASTS, cursor_value};
use crate::wire::TimeLimit;

/// One of the family.
pub(crate) struct Flavor {
    /// Package name.
    pub(crate) name: &'static str,
    /// For people, and in messages: `MysqlBridge`.
    pub(crate) class: &'static str,
    pub(crate) manifest: &'static LazyLock<Manifest>,
    pub(crate) capabilities: &'static LazyLock<Capabilities>,
    pub(crate) aggregates: &'static LazyLock<AggregateCapabilities>,
    pub(crate) dialect: Dialect,
    /// Whether introspection shows a type with its length, as the published bridge of this flavor does.
    pub(crate) shows_length: bool,
    /// Whether the server is somebody else's: always encrypted and verified, with host, user and password alone.
    pub(crate) is_hosted: bool,
    /// What a session is told at its start.
    pub(crate) session: &'static [&'static str],
    /// The same, where a refusal is no reason to give up.
    pub(crate) wishes: &'static [&'static str],
    pub(crate) time_limit: TimeLimit,
}

impl Flavor {
    /// What the driver says of itself.
    pub(crate) fn declaration(&self) -> Declaration<'_> {
        Declaration { manifest: self.manifest, capabilities: self.capabilities, aggregates: self.aggregates }
    }
}

/// Of every session: text in UTF-8, instants in UTC, statements that only read.
const CHARSET: &str = "SET NAMES utf8mb4";
/// A mode of none reads what is stored as it is; a reader that stops is ended by its deadline and not by the server's
/// patience.
const SETTINGS: &str = "SET time_zone = '+00:00', sql_mode = '', autocommit = 1, \
    sql_select_limit = 18446744073709551615, group_concat_max_len = 16777216, net_write_timeout = 86400";
const READ_ONLY: &str = "SET SESSION TRANSACTION READ ONLY";

pub(crate) static MYSQL_FLAVOR: Flavor = Flavor {
    name: "@semilayer/bridge-mysql",
    class: "MysqlBridge",
    manifest: &MYSQL_MANIFEST,
    capabilities: &WITHOUT_SIMILAR,
    aggregates: &WITH_GEOHASH,
    dialect: Dialect { text_casts: MYSQL_CASTS, cursor_value, ..MYSQL },
    shows_length: false,
    is_hosted: false,
    session: &[CHARSET, SETTINGS, READ_ONLY],
    wishes: &[],
    time_limit: TimeLimit::Session,
};

pub(crate) static MARIADB_FLAVOR: Flavor = Flavor {
    name: "@semilayer/bridge-mariadb",
    class: "MariadbBridge",
    manifest: &MARIADB_MANIFEST,
    capabilities: &WITH_SIMILAR,
    aggregates: &WITHOUT_GEOHASH,
    dialect: Dialect {
        text_casts: MARIADB_CASTS,
        cursor_value,
        aggregates: Aggregates { geohash: None, ..MARIADB.aggregates },
        ..MARIADB
    },
    shows_length: true,
    is_hosted: false,
    session: &[CHARSET, SETTINGS, READ_ONLY],
    wishes: &[],
    time_limit: TimeLimit::Session,
};

/// Its proxy, Vitess, may not know every setting; its connections are read-only by the password's role.
pub(crate) static PLANETSCALE_FLAVOR: Flavor = Flavor {
    name: "@semilayer/bridge-planetscale",
    class: "PlanetscaleBridge",
    manifest: &PLANETSCALE_MANIFEST,
    capabilities: &WITHOUT_SIMILAR,
    aggregates: &WITH_GEOHASH,
    dialect: Dialect { text_casts: MYSQL_CASTS, cursor_value, ..MYSQL },
    shows_length: false,
    is_hosted: true,
    session: &[CHARSET, "SET time_zone = '+00:00'"],
    wishes: &["SET sql_mode = ''", "SET group_concat_max_len = 16777216", READ_ONLY],
    time_limit: TimeLimit::Hint,
};

/// Percentiles are counted by ranks.
static WITH_GEOHASH: LazyLock<AggregateCapabilities> = LazyLock::new(|| AggregateCapabilities {
    geo_bucket: true,
    geohash_bucket: true,
    ..AggregateCapabilities::full()
});

/// MariaDB has no `ST_GeoHash`.
static WITHOUT_GEOHASH: LazyLock<AggregateCapabilities> = LazyLock::new(AggregateCapabilities::full);

/// Community editions of MySQL 9 keep vectors and have no function for their distance.
static WITHOUT_SIMILAR: LazyLock<Capabilities> =
    LazyLock::new(|| Capabilities { search: true, ..Capabilities::full() });

/// MariaDB has both from 11.7 on.
static WITH_SIMILAR: LazyLock<Capabilities> =
    LazyLock::new(|| Capabilities { similar: true, ..WITHOUT_SIMILAR.clone() });

static MYSQL_MANIFEST: LazyLock<Manifest> =
    LazyLock::new(|| server_manifest("mysql", "MySQL", "mysql://user:pass@host:3306/dbname", "SSL"));

static MARIADB_MANIFEST: LazyLock<Manifest> = LazyLock::new(|| {
    server_manifest("mariadb", "MariaDB", "mariadb://user:pass@host:3306/dbname", "Use SSL")
});

static PLANETSCALE_MANIFEST: LazyLock<Manifest> = LazyLock::new(|| {
    let manifest = Manifest::new("planetscale", "PlanetScale")
        .with_url("mysql://user:pass@aws.connect.psdb.cloud/dbname")
        .with(text("host", "Host").required())
        .with(text("username", "Username").required())
        .with(Field::new("password", "Password", FieldKind::Password).required());
    common(manifest).with(text("sslrootcert", "Root Certificate").advanced().hint(CA_HINT))
});

const CA_HINT: &str = "A PEM file or its text; the system's roots when empty.";

fn server_manifest(slug: &str, name: &str, url: &str, ssl: &str) -> Manifest {
    let manifest = Manifest::new(slug, name)
        .with_url(url)
        .with(text("host", "Host").required().hint("A name, an address, or the path of a Unix socket."))
        .with(number("port", "Port").default("3306"))
        .with(text("database", "Database").required())
        .with(text("user", "Username").required())
        .with(Field::new("password", "Password", FieldKind::Password).required())
        .with(Field::new("ssl", ssl, FieldKind::Boolean).default("false").advanced().hint(
            "On: encrypted, with the server's certificate and name verified. Off: encrypted where the server can. \
             For anything between, sslmode.",
        ));
    common(manifest)
        .with(
            text("sslmode", "SSL Mode")
                .advanced()
                .hint("disabled, preferred, required, verify_ca or verify_identity."),
        )
        .with(text("sslrootcert", "Root Certificate").advanced().hint(CA_HINT))
        .with(text("sslcert", "Client Certificate").advanced().hint("A PEM file or its text."))
        .with(
            Field::new("sslkey", "Client Key", FieldKind::Password)
                .advanced()
                .hint("A PEM file or its text."),
        )
}

fn common(manifest: Manifest) -> Manifest {
    manifest
        .with(number("connectionTimeoutMillis", "Connect Timeout (ms)").default("10000").advanced())
        .with(number("poolMax", "Pool Size").default("3").advanced())
}

fn text(key: &str, label: &str) -> Field {
    Field::new(key, label, FieldKind::String)
}

fn number(key: &str, label: &str) -> Field {
    Field::new(key, label, FieldKind::Number)
}
