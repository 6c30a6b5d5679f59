//! The config file.

use runtime::settings::{Reader, Source};
use toml::Table;

use crate::cli::Flags;

/// Larger files are mistaken paths.
const LIMIT_BYTES: u64 = 1024 * 1024;

/// Keys of the file, tables with their own keys.
const KEYS: &[&str] = &[
    "id",
    "token",
    "token_file",
    "gateway",
    "token_param",
    "insecure_gateway",
    "exit_on_auth_failure",
    "max_jobs",
    "drain_timeout",
    "plugin_dir",
    "state_dir",
    "ca_file",
    "strict_sources",
    "source_idle_timeout",
    "source_connect_timeout",
    "managed_bridges",
    "log.level",
    "log.format",
    "health.port",
    "health.host",
];

/// The file's content, or nothing and what is wrong with it. Without `--config` and `SEMILAYER_CONFIG` it is empty.
pub(super) fn read(flags: &Flags, source: &dyn Source) -> (Table, Option<String>) {
    let path = flags.config.clone().or_else(|| source.get("SEMILAYER_CONFIG"));
    let Some(path) = path.filter(|path| !path.is_empty()) else { return (Table::new(), None) };
    match parse(&path) {
        Ok(table) => (table, None),
        Err(mistake) => (Table::new(), Some(mistake)),
    }
}

fn parse(path: &str) -> Result<Table, String> {
    let unreadable = |error: std::io::Error| format!("cannot read {path}: {error}");
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() || metadata.len() > LIMIT_BYTES {
        return Err(format!("{path} is not a file of at most {LIMIT_BYTES} bytes"));
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    // The parser's own text quotes the line, which may hold a token.
    text.parse::<Table>().map_err(|error| {
        let line = error
            .span()
            .and_then(|span| text.get(..span.start))
            .map_or(1, |head| head.lines().count().max(1));
        format!("{path} is not valid TOML: {} near line {line}", error.message())
    })
}

/// A key that nobody reads is a mistake, most often in its spelling.
pub(super) fn refuse_unknown_keys(reader: &mut Reader<'_>, table: &Table) {
    for (name, value) in table {
        match value {
            toml::Value::Table(inner) if name == "log" || name == "health" => {
                for key in inner.keys() {
                    refuse_unknown(reader, &format!("{name}.{key}"));
                }
            }
            _ if name == "sources" || name == "plugins" || name == "exec" => {}
            _ => refuse_unknown(reader, name),
        }
    }
}

fn refuse_unknown(reader: &mut Reader<'_>, key: &str) {
    if !KEYS.contains(&key) {
        reader.mistake(key, "is not a setting of the config file");
    }
}
