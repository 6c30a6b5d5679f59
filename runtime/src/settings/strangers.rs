//! Variables that nobody reads, most often a setting with a slip in its name.
//!
//! The programs of this workspace may share one environment. So a program speaks of a name only where none of them has it,
//! and where it is the one that was meant: by a prefix that it has alone, or by a name of its own that is near.

use std::collections::BTreeSet;

use super::Source;
use crate::spelling::{closest, distance};

const COMMON: &str = "SEMILAYER_";

/// Prefixes of one program alone, of sources and of tests.
const RESERVED: [&str; 4] = ["SEMILAYER_EXEC_", "SEMILAYER_SANDBOX_", "SEMILAYER_SOURCE_", "SEMILAYER_TEST_"];

/// What all programs, scripts and tests of the workspace read or set, without [`COMMON`] and outside of the prefixes of
/// sources and tests.
#[rustfmt::skip]
const WORKSPACE: &[&str] = &[
    // Several programs.
    "CA_FILE", "DRAIN_TIMEOUT", "LOG_FORMAT", "LOG_LEVEL", "STATE_DIR",
    // The gateway and its commands.
    "ADMIN_TOKEN", "ADMIN_TOKEN_FILE", "AUDIT_DAYS", "AUDIT_ROWS", "CORS_ORIGINS", "DATABASE_URL", "GATEWAY_API", "LISTEN",
    "MASTER_KEY", "MASTER_KEY_FILE", "MAX_BODY", "MAX_EXEC", "NATS_URL", "PUBLIC_MAX_LIMIT", "TLS_CERT", "TLS_KEY", "TOKEN",
    "URL", "WRITE_TIMEOUT",
    // The runner, and what it gives to processes that it starts.
    "CONFIG", "EXEC", "EXIT_ON_AUTH_FAILURE", "GATEWAY_URL", "HEALTH_HOST", "HEALTH_PORT", "INSECURE_GATEWAY", "JOB",
    "MANAGED_BRIDGES", "MAX_JOBS", "PLUGIN_DIR", "RUNNER_ID", "RUNNER_TOKEN", "RUNNER_TOKEN_FILE", "SEED_DATABASE",
    "SEED_DIR", "STRICT_SOURCES", "TOKEN_PARAM",
    "EXEC_DOCKER_CERTS", "EXEC_DOCKER_HOST", "EXEC_GRACE", "EXEC_MAX_EXEC", "EXEC_MAX_TIMEOUT", "EXEC_OUTPUT_HEAD",
    "EXEC_OUTPUT_TAIL", "EXEC_READONLY_DOCKER", "EXEC_READONLY_FOLDERS", "EXEC_READONLY_PATHS", "EXEC_SANDBOX_CPUS",
    "EXEC_SANDBOX_DISK", "EXEC_SANDBOX_EXTRACT", "EXEC_SANDBOX_IMAGE", "EXEC_SANDBOX_IMAGES", "EXEC_SANDBOX_MEMORY",
    "EXEC_SANDBOX_NETWORKS", "EXEC_SANDBOX_PIDS", "EXEC_SANDBOX_RUNTIME",
    // The sandbox.
    "SANDBOX_ALLOW_NETWORK", "SANDBOX_ALLOW_PRIVATE_CALLBACKS", "SANDBOX_ARTIFACTS_DIR", "SANDBOX_BODY_LIMIT",
    "SANDBOX_CONCURRENCY", "SANDBOX_CPUS", "SANDBOX_DISK", "SANDBOX_DOCKER_HOST", "SANDBOX_DRAIN_TIMEOUT", "SANDBOX_GPUS",
    "SANDBOX_HOST", "SANDBOX_MAX_ARTIFACTS_BYTES", "SANDBOX_MEMORY", "SANDBOX_PIDS", "SANDBOX_PING_TIMEOUT_MS",
    "SANDBOX_PORT", "SANDBOX_QUEUE", "SANDBOX_QUEUE_BYTES", "SANDBOX_REAP_AGE_MS", "SANDBOX_RUNTIME", "SANDBOX_STATE_DIR",
    "SANDBOX_STATE_MAX_BYTES", "SANDBOX_TIMEOUT", "SANDBOX_TMP", "SANDBOX_TOKEN", "SANDBOX_TOKEN_FILE", "SANDBOX_TRANSFER",
    "SANDBOX_WARM",
    // Scripts and tests.
    "BIN", "TYPES_CHILD",
];

/// A variable that is set and no setting.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stranger {
    pub(super) name: String,
    /// The setting that it is a misspelling of.
    meant: Option<String>,
}

impl Stranger {
    /// What is said behind the name.
    pub(super) fn message(&self) -> String {
        match &self.meant {
            Some(meant) => format!("is not a setting; did you mean {meant}?"),
            None => "is not a setting".to_owned(),
        }
    }
}

/// The strangers in `source` that are the business of a program which has asked for the names in `asked` and is the only one
/// with names below the prefixes in `own`.
pub(super) fn strangers(source: &dyn Source, asked: &BTreeSet<String>, own: &[&str]) -> Vec<Stranger> {
    let is_strange =
        |name: &String| !asked.contains(name) && !is_known(name) && is_plain(name) && is_set(source, name);
    let names = source.names(COMMON).into_iter().filter(is_strange);
    names.filter_map(|name| stranger(name, asked, own)).collect()
}

fn stranger(name: String, asked: &BTreeSet<String>, own: &[&str]) -> Option<Stranger> {
    let begins = |prefixes: &[&'static str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    if let Some(prefix) = own.iter().find(|prefix| name.starts_with(**prefix)) {
        let meant = meant_below(prefix, &name, asked);
        return Some(Stranger { name, meant });
    }
    if begins(&RESERVED) {
        return None;
    }
    let meant = Some(nearest(&name, asked)?);
    Some(Stranger { name, meant })
}

/// The setting below `prefix` that is near, or the only one that ends so: `NETWORK` is short for `ALLOW_NETWORK`.
fn meant_below(prefix: &str, name: &str, asked: &BTreeSet<String>) -> Option<String> {
    let word = name.strip_prefix(prefix)?;
    let known = below(prefix, asked);
    let ending = format!("_{word}");
    let mut longer = known.iter().copied().filter(|known| known.ends_with(&ending));
    let only = longer.next().filter(|_| longer.next().is_none());
    closest(word, &known).or(only).map(|known| format!("{prefix}{known}"))
}

/// The setting that is near, unless one of another program is nearer.
fn nearest(name: &str, asked: &BTreeSet<String>) -> Option<String> {
    let word = name.strip_prefix(COMMON)?;
    let found = closest(word, &below(COMMON, asked))?;
    let is_nearer = |other| distance(word, other) < distance(word, found);
    (!closest(word, WORKSPACE).is_some_and(is_nearer)).then(|| format!("{COMMON}{found}"))
}

fn below<'a>(prefix: &str, asked: &'a BTreeSet<String>) -> Vec<&'a str> {
    asked.iter().filter_map(|name| name.strip_prefix(prefix)).collect()
}

fn is_known(name: &str) -> bool {
    name.strip_prefix(COMMON).is_some_and(|name| WORKSPACE.contains(&name))
}

/// Whether the name may stand in a message.
fn is_plain(name: &str) -> bool {
    name.len() <= 100 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn is_set(source: &dyn Source, name: &str) -> bool {
    source.get(name).map_or_else(|| source.is_malformed(name), |value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Mapping;
    use super::*;

    /// What a program says that has asked for `asked`, of variables called `names`.
    fn told(asked: &[&str], own: &[&str], names: &[&str]) -> Vec<String> {
        let source: Mapping = names.iter().map(|name| (*name, "hunter2")).collect();
        let asked = asked.iter().map(|name| (*name).to_owned()).collect();
        let strangers = strangers(&source, &asked, own);
        strangers.iter().map(|stranger| format!("{} {}", stranger.name, stranger.message())).collect()
    }

    const SANDBOX: [&str; 3] =
        ["SEMILAYER_SANDBOX_MEMORY", "SEMILAYER_SANDBOX_ALLOW_NETWORK", "SEMILAYER_LOG_LEVEL"];

    #[test]
    fn a_slip_in_a_name_is_told_with_the_setting_that_was_meant() {
        for (slip, meant) in [
            ("SEMILAYER_SANDBOX_MEMROY", "SEMILAYER_SANDBOX_MEMORY"),
            ("SEMILAYER_SANDBX_MEMORY", "SEMILAYER_SANDBOX_MEMORY"),
            ("SEMILAYER_SANDBOX_NETWORK", "SEMILAYER_SANDBOX_ALLOW_NETWORK"),
            ("SEMILAYER_LOG_LEVLE", "SEMILAYER_LOG_LEVEL"),
        ] {
            let expected = format!("{slip} is not a setting; did you mean {meant}?");
            assert_eq!(told(&SANDBOX, &["SEMILAYER_SANDBOX_"], &[slip]), [expected]);
        }
    }

    #[test]
    fn every_name_below_a_programs_own_prefix_is_its_business() {
        let own = ["SEMILAYER_SANDBOX_"];
        let expected = ["SEMILAYER_SANDBOX_COLOUR is not a setting"];
        assert_eq!(told(&SANDBOX, &own, &["SEMILAYER_SANDBOX_COLOUR"]), expected);
        assert!(told(&SANDBOX, &[], &["SEMILAYER_SANDBOX_COLOUR"]).is_empty());
    }

    #[test]
    fn names_of_other_programs_and_slips_in_them_are_somebody_elses_business() {
        let own = ["SEMILAYER_SANDBOX_"];
        for name in WORKSPACE {
            assert!(told(&SANDBOX, &own, &[&format!("{COMMON}{name}")]).is_empty(), "{name}");
        }
        for name in [
            "SEMILAYER_EXEC_SANDBOX_MEMROY",
            "SEMILAYER_EXCE_SANDBOX_MEMORY",
            "SEMILAYER_SOURCE_SANDBOX_MEMORY",
            "SEMILAYER_TEST_LOG_LEVEL",
            "SEMILAYER_LISTN",
            "SEMILAYER_SOMETHING_OF_A_SCRIPT",
            "SEMILAYER_",
            "LOG_LEVLE",
        ] {
            assert!(told(&SANDBOX, &own, &[name]).is_empty(), "{name}");
        }
        let gateway = ["SEMILAYER_GATEWAY_URL"];
        assert_eq!(told(&gateway, &[], &["SEMILAYER_GATEWAY"]).len(), 1, "as near to one of another program");
    }

    #[test]
    fn an_empty_variable_is_none() {
        let source: Mapping = [("SEMILAYER_LOG_LEVLE", "")].into_iter().collect();
        assert_eq!(strangers(&source, &SANDBOX.map(str::to_owned).into(), &[]), []);
    }

    #[test]
    fn the_list_has_every_name_that_stands_in_the_programs() {
        let mut seen = 0;
        for program in ["runtime", "host", "gateway", "sandbox"] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(program).join("src");
            for name in names_in(&folder) {
                seen += 1;
                let reserved =
                    ["SEMILAYER_SOURCE_", "SEMILAYER_TEST_"].map(|prefix| name.starts_with(prefix));
                assert!(is_known(&name) || reserved.contains(&true), "{name} of {program}");
            }
        }
        assert!(seen > 60, "{seen} names");
    }

    /// The names between quotes, outside of tests, in the sources below a folder.
    fn names_in(folder: &Path) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                names.append(&mut names_in(&path));
            } else if !path.ends_with("tests.rs") {
                let text = std::fs::read_to_string(&path).unwrap_or_default();
                let text = text.split("#[cfg(test)]").next().unwrap_or_default();
                let quoted = text.split('"').filter(|part| part.starts_with(COMMON) && *part != COMMON);
                let quoted = quoted.filter(|part| is_plain(part) && !part.ends_with('_'));
                names.extend(quoted.map(str::to_owned));
            }
        }
        names
    }
}
