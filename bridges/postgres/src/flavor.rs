//! What tells the drivers of this crate apart: one implementation, and data.

use std::sync::LazyLock;

use bridge_core::Declaration;
use bridge_sql::{COCKROACHDB, Dialect, POSTGRES};
use protocol::{AggregateCapabilities, Capabilities, Field, FieldKind, Manifest};

use crate::config::Rules;
use crate::wire::{IpFamily, TlsMode};

/// One of the family.
pub(crate) struct Flavor {
    /// Package name.
    pub(crate) name: &'static str,
    /// For people.
    pub(crate) title: &'static str,
    pub(crate) manifest: &'static LazyLock<Manifest>,
    pub(crate) capabilities: &'static LazyLock<Capabilities>,
    pub(crate) aggregates: &'static LazyLock<AggregateCapabilities>,
    pub(crate) dialect: Dialect,
    /// How a configuration is read.
    pub(crate) rules: Rules,
    /// Whether a column of `pg_attribute` is not part of a row unless asked for, as SQL.
    pub(crate) is_hidden: &'static str,
    /// Whether the catalog is asked for what makes a search faster than a scan.
    pub(crate) has_text_indexes: bool,
}

impl Flavor {
    /// What the driver says of itself.
    pub(crate) fn declaration(&self) -> Declaration<'_> {
        Declaration { manifest: self.manifest, capabilities: self.capabilities, aggregates: self.aggregates }
    }
}

const POSTGRES_RULES: Rules = Rules {
    schemes: &["postgresql://", "postgres://"],
    example: "postgresql://user:password@host:port/database",
    refused_url: None,
    has_fields: true,
    required: "a value (PostgresBridge requires a \"url\" or (\"host\" + \"database\") config)",
    port: 5432,
    // libpq would take the name of the operating system's user, which in a container says nothing.
    user: "postgres",
    database: None,
    tls: TlsMode::Prefer,
    ip_family: IpFamily::V4,
    has_schema: false,
    routes: &[],
};

/// PostgreSQL itself; Neon and Supabase are it with other manners of connecting.
const PLAIN: Flavor = Flavor {
    name: "@semilayer/bridge-postgres",
    title: "PostgreSQL",
    manifest: &POSTGRES_MANIFEST,
    capabilities: &WITH_VECTORS,
    aggregates: &AGGREGATES,
    dialect: POSTGRES,
    rules: POSTGRES_RULES,
    is_hidden: "false",
    has_text_indexes: true,
};

pub(crate) static POSTGRES_FLAVOR: Flavor = PLAIN;

/// Speaks PostgreSQL's protocol and most of its SQL over a store of its own. A table without a primary key has a hidden
/// one, `rowid`.
pub(crate) static COCKROACHDB_FLAVOR: Flavor = Flavor {
    name: "@semilayer/bridge-cockroachdb",
    title: "CockroachDB",
    manifest: &COCKROACHDB_MANIFEST,
    capabilities: &WITHOUT_VECTORS,
    aggregates: &WITHOUT_SAMPLES,
    // A target is in the source's own database, whose catalog alone is asked.
    dialect: Dialect { max_parts: 2, ..COCKROACHDB },
    rules: Rules {
        schemes: &["cockroachdb://", "postgresql://", "postgres://"],
        example: "cockroachdb://user:password@host:26257/database",
        required: "a value (CockroachdbBridge requires a \"url\" or (\"host\" + \"database\") config)",
        port: 26257,
        user: "root",
        database: Some("defaultdb"),
        tls: TlsMode::VerifyFull,
        ip_family: IpFamily::Any,
        routes: &["--cluster="],
        ..POSTGRES_RULES
    },
    // Versions before 24.2 do not have the column, and show what is hidden.
    is_hidden: "coalesce(pg_catalog.to_jsonb(a) ->> 'attishidden', 'false') = 'true'",
    has_text_indexes: false,
};

/// PostgreSQL behind a proxy that knows the database by the name of its host.
pub(crate) static NEON_FLAVOR: Flavor = Flavor {
    name: "@semilayer/bridge-neon",
    title: "Neon",
    manifest: &NEON_MANIFEST,
    rules: Rules {
        has_fields: false,
        required: "postgresql://user:password@endpoint.neon.tech/database (NeonBridge requires a \"url\" config string)",
        tls: TlsMode::VerifyFull,
        ip_family: IpFamily::Any,
        routes: &["endpoint=", "project="],
        ..POSTGRES_RULES
    },
    ..PLAIN
};

/// PostgreSQL, reached as a database and not by its REST interface.
pub(crate) static SUPABASE_FLAVOR: Flavor = Flavor {
    name: "@semilayer/bridge-supabase",
    title: "Supabase",
    manifest: &SUPABASE_MANIFEST,
    rules: Rules {
        has_fields: false,
        required: "postgresql://user:password@host:port/database (SupabaseBridge requires a \"url\" config string)",
        refused_url: Some((
            &["https://", "http://"],
            "the project's database URL, postgresql://…, from its Connect dialog (direct connection or session \
             pooler): this bridge asks the database itself and not the project's REST address, so it needs no key",
        )),
        database: Some("postgres"),
        // Its certificates descend from an authority of its own, which no system knows.
        tls: TlsMode::Require,
        ip_family: IpFamily::Any,
        has_schema: true,
        routes: &["reference="],
        ..POSTGRES_RULES
    },
    ..PLAIN
};

static WITH_VECTORS: LazyLock<Capabilities> =
    LazyLock::new(|| Capabilities { search: true, similar: true, ..Capabilities::full() });

static WITHOUT_VECTORS: LazyLock<Capabilities> =
    LazyLock::new(|| Capabilities { search: true, ..Capabilities::full() });

static AGGREGATES: LazyLock<AggregateCapabilities> = LazyLock::new(AggregateCapabilities::full);

static WITHOUT_SAMPLES: LazyLock<AggregateCapabilities> =
    LazyLock::new(|| AggregateCapabilities { sampling: false, ..AggregateCapabilities::full() });

static POSTGRES_MANIFEST: LazyLock<Manifest> = LazyLock::new(|| {
    let manifest =
        Manifest::new("postgres", "PostgreSQL").with_url("postgresql://user:pass@host:5432/dbname");
    let manifest = with_address(manifest, "5432").with(switch("ssl", "SSL", "false").hint(SSL_HINT));
    with_postgis(with_tls(with_patience(manifest, "4")))
});

static COCKROACHDB_MANIFEST: LazyLock<Manifest> = LazyLock::new(|| {
    let manifest = Manifest::new("cockroachdb", "CockroachDB")
        .with_url("cockroachdb://user:pass@host:26257/dbname?sslmode=verify-full");
    let manifest = with_address(manifest, "26257").with(switch("ssl", "SSL", "true").hint(SSL_HINT));
    with_postgis(with_tls(with_patience(manifest, "0")))
});

static NEON_MANIFEST: LazyLock<Manifest> = LazyLock::new(|| {
    let manifest = Manifest::new("neon", "Neon")
        .with_url("postgresql://user:pass@ep-name-123456.region.aws.neon.tech/dbname?sslmode=verify-full");
    with_postgis(with_patience(manifest, "0"))
});

static SUPABASE_MANIFEST: LazyLock<Manifest> = LazyLock::new(|| {
    let manifest = Manifest::new("supabase", "Supabase")
        .with(text("url", "Database URL").required().hint(
            "Of the database and not of the REST interface: postgresql://postgres.ref:pass@host:5432/postgres",
        ))
        .with(
            Field::new("key", "Service Role Key", FieldKind::Password)
                .advanced()
                .hint("Of the REST interface, which is not used: the URL says it all."),
        )
        .with(text("schema", "Schema").default("public").advanced());
    with_postgis(with_tls(with_patience(manifest, "0")))
});

const SSL_HINT: &str =
    "On: encrypted, with the server's certificate and name verified. For anything between, sslmode.";

fn with_address(manifest: Manifest, port: &str) -> Manifest {
    manifest
        .with(text("host", "Host").required().hint("A name, an address, or the folder of a Unix socket."))
        .with(number("port", "Port").default(port))
        .with(text("database", "Database").required())
        .with(text("user", "Username").required())
        .with(Field::new("password", "Password", FieldKind::Password).required())
}

fn with_patience(manifest: Manifest, ip_family: &str) -> Manifest {
    manifest
        .with(number("ipFamily", "IP Family").default(ip_family).advanced().hint("4, 6, or 0 for both."))
        .with(number("connectionTimeoutMillis", "Connect Timeout (ms)").default("10000").advanced())
}

fn with_tls(manifest: Manifest) -> Manifest {
    let pem = "A PEM file or its text.";
    manifest
        .with(text("sslmode", "SSL Mode").advanced().hint("As libpq has it: disable to verify-full."))
        .with(text("sslrootcert", "Root Certificate").advanced().hint("A PEM file or its text, or system."))
        .with(text("sslcert", "Client Certificate").advanced().hint(pem))
        .with(Field::new("sslkey", "Client Key", FieldKind::Password).advanced().hint(pem))
}

fn with_postgis(manifest: Manifest) -> Manifest {
    manifest.with(number("poolMax", "Pool Size").default("3").advanced()).with(switch(
        "enablePostgis",
        "PostGIS",
        "false",
    ))
}

fn text(key: &str, label: &str) -> Field {
    Field::new(key, label, FieldKind::String)
}

fn number(key: &str, label: &str) -> Field {
    Field::new(key, label, FieldKind::Number)
}

fn switch(key: &str, label: &str, default: &str) -> Field {
    Field::new(key, label, FieldKind::Boolean).default(default).advanced()
}

#[cfg(test)]
mod tests {
    use protocol::FieldGroup;

    use super::*;

    /// A line a field: key, label, type, whether it is required, default, group.
    fn lines(flavor: &Flavor) -> Vec<String> {
        let manifest = flavor.manifest;
        assert_eq!(manifest.package_name, flavor.name);
        assert_eq!(manifest.display_name, flavor.title);
        let line = |field: &Field| {
            let required = if field.required { "required" } else { "optional" };
            let group = if field.group == FieldGroup::Primary { "primary" } else { "advanced" };
            let default = field.default.as_deref().unwrap_or("-");
            format!("{} | {} | {:?} | {required} | {default} | {group}", field.key, field.label, field.kind)
        };
        manifest.fields.iter().map(line).collect()
    }

    const ADDRESS: [&str; 5] = [
        "host | Host | String | required | - | primary",
        "port | Port | Number | optional | 5432 | primary",
        "database | Database | String | required | - | primary",
        "user | Username | String | required | - | primary",
        "password | Password | Password | required | - | primary",
    ];
    const TLS: [&str; 4] = [
        "sslmode | SSL Mode | String | optional | - | advanced",
        "sslrootcert | Root Certificate | String | optional | - | advanced",
        "sslcert | Client Certificate | String | optional | - | advanced",
        "sslkey | Client Key | Password | optional | - | advanced",
    ];
    const POOL: [&str; 2] = [
        "poolMax | Pool Size | Number | optional | 3 | advanced",
        "enablePostgis | PostGIS | Boolean | optional | false | advanced",
    ];
    const TIMEOUT: &str =
        "connectionTimeoutMillis | Connect Timeout (ms) | Number | optional | 10000 | advanced";

    #[test]
    fn postgresql_and_cockroachdb_have_fields_beside_a_url() {
        let family = "ipFamily | IP Family | Number | optional | 4 | advanced";
        let own = ["ssl | SSL | Boolean | optional | false | advanced", family, TIMEOUT];
        assert_eq!(lines(&POSTGRES_FLAVOR), [&ADDRESS[..], &own, &TLS, &POOL].concat());

        let mut address = ADDRESS;
        address[1] = "port | Port | Number | optional | 26257 | primary";
        let family = "ipFamily | IP Family | Number | optional | 0 | advanced";
        let own = ["ssl | SSL | Boolean | optional | true | advanced", family, TIMEOUT];
        assert_eq!(lines(&COCKROACHDB_FLAVOR), [&address[..], &own, &TLS, &POOL].concat());
        for (flavor, scheme) in [(&POSTGRES_FLAVOR, "postgresql://"), (&COCKROACHDB_FLAVOR, "cockroachdb://")]
        {
            assert!(flavor.manifest.supports_url);
            assert!(flavor.manifest.url_placeholder.as_ref().unwrap().starts_with(scheme));
        }
    }

    #[test]
    fn neon_and_supabase_are_reached_by_a_url() {
        let family = "ipFamily | IP Family | Number | optional | 0 | advanced";
        assert_eq!(lines(&NEON_FLAVOR), [&[family, TIMEOUT][..], &POOL].concat());
        assert!(NEON_FLAVOR.manifest.supports_url);

        let own = [
            "url | Database URL | String | required | - | primary",
            "key | Service Role Key | Password | optional | - | advanced",
            "schema | Schema | String | optional | public | advanced",
            family,
            TIMEOUT,
        ];
        assert_eq!(lines(&SUPABASE_FLAVOR), [&own[..], &TLS, &POOL].concat());
        assert!(!SUPABASE_FLAVOR.manifest.supports_url);
    }

    #[test]
    fn each_says_what_it_can_rank_and_sample() {
        for flavor in [&POSTGRES_FLAVOR, &NEON_FLAVOR, &SUPABASE_FLAVOR] {
            assert!(flavor.capabilities.search && flavor.capabilities.similar && flavor.aggregates.sampling);
        }
        let cockroachdb = &COCKROACHDB_FLAVOR;
        assert!(cockroachdb.capabilities.search && !cockroachdb.capabilities.similar);
        assert!(!cockroachdb.aggregates.sampling);
    }
}
