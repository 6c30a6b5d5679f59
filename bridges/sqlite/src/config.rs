//! A source's settings: which file, and how patiently it is read.
//!
//! Nothing that is set here can make the bridge write: it opens files read-only, and asks for anything else are refused.

use std::path::PathBuf;
use std::time::Duration;

use bridge_core::{ConfigFields, ConfigMistakes};
use percent_encoding::percent_decode_str;
use protocol::SourceConfig;

/// Connections that a source has at the most, unless it says otherwise.
const DEFAULT_POOL: i64 = 3;
/// How long a writer may be in the way, unless the source says otherwise.
const DEFAULT_BUSY_MS: i64 = 5_000;

/// Settings that make sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Where the database is.
    pub(crate) location: Location,
    /// How long a job waits for a writer, its deadline permitting.
    pub(crate) busy_timeout: Duration,
    /// Connections at the most; one job uses one.
    pub(crate) pool_max: u32,
}

/// Where a database is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Location {
    /// A file. Its path goes to SQLite as it is, so that `?` and `%` in it mean themselves.
    File {
        /// The path.
        path: PathBuf,
        /// Nobody writes to it, ever: no locks are taken and no `-wal` is looked for.
        immutable: bool,
    },
    /// A database in this process's memory that another part of the process keeps open under this name.
    SharedMemory {
        /// Its name.
        name: String,
    },
}

impl Settings {
    /// Reads a configuration; reports every mistake.
    pub(crate) fn read(config: &SourceConfig) -> Result<Self, ConfigMistakes> {
        let mut fields = ConfigFields::new(config);
        let location = location(&mut fields);
        if fields.flag(&["readOnly"]) == Some(false) {
            fields.mistake("readOnly", "true: this bridge never writes");
        }
        let busy = fields.integer(&["busyTimeoutMs"], 0..=3_600_000).unwrap_or(DEFAULT_BUSY_MS);
        let pool = fields.integer(&["pool.max", "poolMax"], 1..=64).unwrap_or(DEFAULT_POOL);
        let location = location.unwrap_or_else(|| Location::File { path: PathBuf::new(), immutable: false });
        fields.finish(Self {
            location,
            busy_timeout: Duration::from_millis(u64::try_from(busy).unwrap_or_default()),
            pool_max: u32::try_from(pool).unwrap_or(1),
        })
    }
}

fn location(fields: &mut ConfigFields<'_>) -> Option<Location> {
    let (field, text) = match fields.text(&["path"]) {
        Some(path) => ("path", path),
        None => ("url", fields.text(&["url"]).or_else(|| missing(fields))?),
    };
    let location = match text.strip_prefix("file:") {
        Some(rest) => of_url(rest),
        None if field == "url" => Err("a file: URL"),
        None => of_path(&text),
    };
    location.map_err(|expected| fields.mistake(field, expected)).ok()
}

fn missing(fields: &mut ConfigFields<'_>) -> Option<String> {
    fields.mistake("path", "the path of a database file (SqliteBridge requires a \"path\" config string)");
    None
}

const IN_MEMORY: &str = "a file: a private database in memory would always be empty";

fn of_path(path: &str) -> Result<Location, &'static str> {
    match path {
        ":memory:" => Err(IN_MEMORY),
        _ if path.contains('\0') => Err("a path without NUL"),
        _ => Ok(Location::File { path: path.into(), immutable: false }),
    }
}

/// Reads what stands after `file:` (<https://sqlite.org/uri.html>). Only parameters that keep the file read-only are
/// taken; a `vfs` or a `nolock` could change what reading means.
fn of_url(rest: &str) -> Result<Location, &'static str> {
    let rest = rest.split('#').next().unwrap_or(rest);
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let path = match path.strip_prefix("//") {
        Some(authority) => authority.strip_prefix("localhost").unwrap_or(authority),
        None => path,
    };
    if path.starts_with("//") || (rest.starts_with("//") && !path.starts_with('/')) {
        return Err("a file: URL of this machine: file:///path");
    }
    let parameters = Parameters::read(query)?;
    let path = decoded(path)?;
    match (parameters.memory || path == ":memory:", parameters.shared) {
        (true, true) => Ok(Location::SharedMemory { name: path }),
        (true, false) => Err(IN_MEMORY),
        (false, _) if path.is_empty() => Err("a file: URL with a path"),
        (false, _) => Ok(Location::File { path: path.into(), immutable: parameters.immutable }),
    }
}

#[derive(Default)]
struct Parameters {
    immutable: bool,
    memory: bool,
    shared: bool,
}

impl Parameters {
    fn read(query: &str) -> Result<Self, &'static str> {
        let mut parameters = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            match (decoded(key)?.as_str(), decoded(value)?.as_str()) {
                ("mode", "ro") | ("cache", "private") | ("immutable", "0" | "no" | "off" | "false") => {}
                ("mode", "memory") => parameters.memory = true,
                ("cache", "shared") => parameters.shared = true,
                ("immutable", "1" | "yes" | "on" | "true") => parameters.immutable = true,
                ("mode", _) => return Err("mode=ro: this bridge never writes"),
                _ => return Err("only the parameters mode, cache and immutable"),
            }
        }
        Ok(parameters)
    }
}

fn decoded(text: &str) -> Result<String, &'static str> {
    let decoded = percent_decode_str(text).decode_utf8().map_err(|_| "percent-encoded UTF-8")?;
    if decoded.contains('\0') { Err("a path without NUL") } else { Ok(decoded.into_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Settings, String> {
        Settings::read(&serde_json::from_str(json).unwrap()).map_err(|mistakes| mistakes.to_string())
    }

    fn file(path: &str, immutable: bool) -> Location {
        Location::File { path: path.into(), immutable }
    }

    #[test]
    fn a_path_is_taken_as_it_is_and_the_rest_has_defaults() {
        let settings = read(r#"{"path":"/data/a?b%20c.db"}"#).unwrap();
        assert_eq!(settings.location, file("/data/a?b%20c.db", false));
        assert_eq!((settings.busy_timeout, settings.pool_max), (Duration::from_secs(5), 3));
    }

    #[test]
    fn numbers_may_be_digits_and_a_path_of_digits_stays_a_path() {
        let settings = read(r#"{"path":2026,"busyTimeoutMs":"250","pool":{"max":"2"},"readOnly":"true"}"#);
        let settings = settings.unwrap();
        assert_eq!(settings.location, file("2026", false));
        assert_eq!((settings.busy_timeout, settings.pool_max), (Duration::from_millis(250), 2));
    }

    #[test]
    fn urls_name_a_file_or_a_shared_database() {
        let location = |url: &str| read(&format!(r#"{{"url":"{url}"}}"#)).unwrap().location;
        assert_eq!(location("file:///data/a%20b.db?mode=ro&immutable=1"), file("/data/a b.db", true));
        assert_eq!(location("file://localhost/data/a.db"), file("/data/a.db", false));
        assert_eq!(location("file:relative.db?cache=private"), file("relative.db", false));
        let shared = Location::SharedMemory { name: "demo".to_owned() };
        assert_eq!(location("file:demo?mode=memory&cache=shared"), shared);
        assert_eq!(read(r#"{"path":"file:///a.db"}"#).unwrap().location, file("/a.db", false));
    }

    #[test]
    fn what_could_write_or_would_be_empty_is_refused() {
        for (json, says) in [
            ("{}", "path: expected the path of a database file"),
            (r#"{"path":":memory:"}"#, "always be empty"),
            (r#"{"url":"file::memory:"}"#, "always be empty"),
            (r#"{"url":"file:/a.db?mode=rwc"}"#, "mode=ro"),
            (r#"{"url":"file:/a.db?vfs=unix-none"}"#, "only the parameters"),
            (r#"{"url":"file://server/a.db"}"#, "of this machine"),
            (r#"{"url":"file:"}"#, "with a path"),
            (r#"{"url":"https://example.org/a.db"}"#, "a file: URL"),
            (r#"{"path":"/a\u0000.db"}"#, "without NUL"),
            (r#"{"path":"/a.db","readOnly":false}"#, "readOnly: expected true"),
            (r#"{"path":"/a.db","pool":{"max":0}}"#, "pool.max"),
        ] {
            let mistakes = read(json).unwrap_err();
            assert!(mistakes.contains(says), "{json}: {mistakes}");
        }
    }

    #[test]
    fn every_mistake_is_reported_at_once() {
        let mistakes = read(r#"{"path":[],"readOnly":"maybe","busyTimeoutMs":-1}"#).unwrap_err();
        for field in ["path", "readOnly", "busyTimeoutMs"] {
            assert!(mistakes.contains(field), "{mistakes}");
        }
    }
}
