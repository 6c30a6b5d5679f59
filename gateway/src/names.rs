//! What runners, sources, keys, lenses and bridges may be called.

use runtime::spelling::closest;

/// The bridges of the published family, by their short forms.
const FAMILY: [&str; 23] = [
    "bigquery",
    "cassandra",
    "clickhouse",
    "cockroachdb",
    "d1",
    "duckdb",
    "dynamodb",
    "elasticsearch",
    "firestore",
    "mariadb",
    "mongodb",
    "mssql",
    "mysql",
    "neon",
    "oracle",
    "planetscale",
    "postgres",
    "redis",
    "snowflake",
    "sqlite",
    "supabase",
    "turso",
    "upstash",
];
const FAMILY_PREFIX: &str = "@semilayer/bridge-";
/// The length that npm allows.
const MAX_PACKAGE: usize = 214;
const MAX_NAME: usize = 128;

/// What [`is_name`] wants, for messages.
pub const NAME: &str = "1 to 128 letters, digits, dots, dashes and underscores, beginning with a letter or digit, and not a UUID";
/// What [`package`] wants, for messages.
pub const PACKAGE: &str = "a bridge such as \"postgres\" or \"@scope/package\"";

/// What [`is_setting`] wants, for messages.
pub const SETTING: &str =
    "a setting's name of letters, digits, dashes and underscores (for a.b, an object a with b in it)";

/// Whether a setting of a bridge may be called this. Which settings a bridge has, its runners know.
pub fn is_setting(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    text.len() <= MAX_NAME && text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(allowed)
}

/// The published bridge that a package name may be a misspelling of; nothing when it is one of them.
pub fn similar_bridge(package: &str) -> Option<&'static str> {
    let short = package.strip_prefix(FAMILY_PREFIX).unwrap_or(package);
    closest(short, &FAMILY).filter(|meant| *meant != short)
}

/// Whether a package is one of the published family.
pub fn is_published(package: &str) -> bool {
    package.strip_prefix(FAMILY_PREFIX).is_some_and(|short| FAMILY.contains(&short))
}

/// Whether a runner, a source, a key or a lens may be called this. The characters stand in a URL's path as they are, and
/// because no name is a UUID, an id and a name cannot be mistaken for each other.
pub fn is_name(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    text.len() <= MAX_NAME
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(allowed)
        && uuid::Uuid::try_parse(text).is_err()
}

/// The package name of a bridge: a short form of the published family is expanded, any other npm-like name is taken as
/// it is. `None` for anything else.
pub fn package(text: &str) -> Option<String> {
    if FAMILY.contains(&text) {
        return Some(format!("{FAMILY_PREFIX}{text}"));
    }
    let (scope, name) = match text.strip_prefix('@') {
        Some(scoped) => scoped.split_once('/')?,
        None => ("scope", text),
    };
    let fits = text.len() <= MAX_PACKAGE && is_package_part(scope) && is_package_part(name);
    fits.then(|| text.to_owned())
}

fn is_package_part(text: &str) -> bool {
    let allowed =
        |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '~' | '.' | '_');
    !text.is_empty() && !text.starts_with(['.', '_']) && text.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_into_a_path_and_are_no_ids() {
        for good in ["main", "main-db", "Main_DB.2", "0", &"a".repeat(128)] {
            assert!(is_name(good), "{good}");
        }
        let id = uuid::Uuid::now_v7();
        let bad = [
            "",
            "-a",
            ".",
            "a b",
            "a/b",
            "ä",
            "a%",
            &"a".repeat(129),
            &id.to_string(),
            &id.simple().to_string(),
        ];
        for bad in bad {
            assert!(!is_name(bad), "{bad}");
        }
    }

    #[test]
    fn a_setting_is_one_word() {
        for good in ["path", "poolMax", "ssl_ca", "x-1"] {
            assert!(is_setting(good), "{good}");
        }
        for bad in ["", "pool.max", "pass word", "1x", "ä", "a=b", "$a", &"a".repeat(129)] {
            assert!(!is_setting(bad), "{bad}");
        }
    }

    #[test]
    fn a_misspelt_bridge_is_recognised() {
        assert_eq!(similar_bridge("postgress"), Some("postgres"));
        assert_eq!(similar_bridge("@semilayer/bridge-sqllite"), Some("sqlite"));
        assert_eq!(similar_bridge("@semilayer/bridge-postgres"), None);
        assert_eq!(similar_bridge("@acme/ledger"), None);
        assert!(
            is_published("@semilayer/bridge-redis") && !is_published("redis") && !is_published("@acme/redis")
        );
    }

    #[test]
    fn a_short_form_means_the_published_package() {
        assert_eq!(package("postgres").as_deref(), Some("@semilayer/bridge-postgres"));
        assert_eq!(package("@semilayer/bridge-postgres").as_deref(), Some("@semilayer/bridge-postgres"));
        assert_eq!(package("my-plugin").as_deref(), Some("my-plugin"));
        for bad in ["", "Postgres", "@scope", "@/x", "a/b", "@a/b/c", "../x", "a b", &"a".repeat(215)] {
            assert_eq!(package(bad), None, "{bad}");
        }
    }
}
