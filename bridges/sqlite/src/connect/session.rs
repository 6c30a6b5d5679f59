//! One connection: opened read-only and with everything switched off that a reader does not need, opened again when the
//! file behind the path was replaced.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bridge_core::BridgeError;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rusqlite::config::DbConfig;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags};

use super::Control;
use super::control::STEPS;
use crate::config::{Location, Settings};
use crate::error::Failure;
use crate::fold;
use crate::introspect::Catalog;

/// How long a job sleeps before it tries again when a writer is in the way.
const BUSY_PAUSE: Duration = Duration::from_millis(5);
/// Statements that stay prepared.
const STATEMENTS: usize = 64;
/// The largest value that SQLite may build. A row of more than 16 MiB is refused anyway; this bounds what a single
/// expression of a view can take.
const VALUE_LIMIT: i32 = 64 * 1024 * 1024;
/// Everything but what may stand in a path of a URI as it is.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A thread's connection, or the lack of one.
pub(crate) struct Session {
    settings: Arc<Settings>,
    control: Arc<Control>,
    opened: Option<Opened>,
}

struct Opened {
    connection: Connection,
    identity: Option<Identity>,
    catalog: Catalog,
}

/// A read transaction: everything that is asked in it sees the same state of the database.
pub(crate) struct Transaction<'a> {
    /// Where to ask.
    pub(crate) connection: &'a Connection,
    /// What is known of tables.
    pub(crate) catalog: &'a mut Catalog,
    /// When to stop.
    pub(crate) control: &'a Control,
}

impl Session {
    pub(crate) fn new(settings: Arc<Settings>, control: Arc<Control>) -> Self {
        Self { settings, control, opened: None }
    }

    /// Runs `work` in one read transaction, on a connection to the file that is at the path now.
    pub(crate) fn transaction<T>(
        &mut self,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, Failure>,
    ) -> Result<T, BridgeError> {
        let result = self.attempt(work);
        let stop = self.control.stop();
        self.control.finish();
        self.leave_transaction();
        result.map_err(|failure| {
            if failure.spoils_connection() {
                self.opened = None;
            }
            failure.into_bridge(stop)
        })
    }

    fn attempt<T>(
        &mut self,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let identity = identity(&self.settings.location)?;
        let opened = match self.opened.take().filter(|opened| opened.identity == identity) {
            Some(opened) => opened,
            None => open(&self.settings.location, identity, &self.control)?,
        };
        let opened = self.opened.insert(opened);
        let version = enter(&opened.connection, &self.control, self.settings.busy_timeout)?;
        opened.catalog.follow(version);
        work(&mut Transaction {
            connection: &opened.connection,
            catalog: &mut opened.catalog,
            control: &self.control,
        })
    }

    /// Ends the transaction; a connection that cannot is given up.
    fn leave_transaction(&mut self) {
        let leave = |opened: &Opened| {
            opened.connection.is_autocommit() || execute(&opened.connection, "ROLLBACK").is_ok()
        };
        self.opened = self.opened.take().filter(leave);
    }
}

/// Begins a transaction that holds its read lock, and answers the schema's version. Waits for a writer here and nowhere
/// else: with the lock held, SQLite is never busy again until the transaction ends.
fn enter(connection: &Connection, control: &Control, patience: Duration) -> Result<i64, Failure> {
    let begun = Instant::now();
    loop {
        match try_enter(connection) {
            Err(failure) if failure.is_busy() && begun.elapsed() < patience => control.pause(BUSY_PAUSE)?,
            result => return result,
        }
    }
}

fn try_enter(connection: &Connection) -> Result<i64, Failure> {
    if connection.is_autocommit() {
        execute(connection, "BEGIN")?;
    }
    let mut version = connection.prepare_cached("PRAGMA schema_version")?;
    Ok(version.query_row([], |row| row.get(0))?)
}

fn execute(connection: &Connection, words: &'static str) -> Result<(), Failure> {
    connection.prepare_cached(words)?.execute([])?;
    Ok(())
}

fn open(location: &Location, identity: Option<Identity>, control: &Arc<Control>) -> Result<Opened, Failure> {
    let connection = connect(location)?;
    harden(&connection)?;
    fold::register(&connection)?;
    let watched = control.clone();
    connection.progress_handler(STEPS, Some(move || watched.stop().is_some()))?;
    connection.authorizer(Some(authorize))?;
    control.watch(connection.get_interrupt_handle());
    Ok(Opened { connection, identity, catalog: Catalog::default() })
}

fn connect(location: &Location) -> Result<Connection, Failure> {
    // Each connection is used by its own thread alone, so SQLite's own mutexes would only cost time.
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = match location {
        Location::File { path, immutable: false } => Connection::open_with_flags(plain(path), flags),
        Location::File { path, immutable: true } => {
            let uri = format!("{}?immutable=1", uri(&path.to_string_lossy()));
            Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI)
        }
        Location::SharedMemory { name } => {
            let uri = format!("{}?mode=memory&cache=shared", uri(name));
            Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI)
        }
    };
    opened.map_err(|error| Failure::Bridge(cannot_open(Box::new(error))))
}

/// A relative path as SQLite does not mistake it for a URI or for a database in memory.
fn plain(path: &Path) -> std::path::PathBuf {
    if path.is_absolute() { path.to_owned() } else { Path::new(".").join(path) }
}

fn uri(path: &str) -> String {
    let authority = if path.starts_with('/') { "//" } else { "" };
    format!("file:{authority}{}", utf8_percent_encode(path, PATH))
}

/// Switches off what a reader does not need (<https://sqlite.org/security.html>).
fn harden(connection: &Connection) -> Result<(), Failure> {
    for (switch, on) in [
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, false),
        // A name that is not a column is a mistake, never a string.
        (DbConfig::SQLITE_DBCONFIG_DQS_DML, false),
        (DbConfig::SQLITE_DBCONFIG_DQS_DDL, false),
        // A reader leaves the writer's `-wal` alone.
        (DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true),
    ] {
        connection.set_db_config(switch, on)?;
    }
    for (limit, value) in [
        (Limit::SQLITE_LIMIT_LENGTH, VALUE_LIMIT),
        (Limit::SQLITE_LIMIT_ATTACHED, 0),
        (Limit::SQLITE_LIMIT_TRIGGER_DEPTH, 1),
        (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
    ] {
        connection.set_limit(limit, value)?;
    }
    connection.busy_timeout(Duration::ZERO)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // Memory maps stay off: a file that another process cuts short would end this one.
    connection
        .execute_batch("PRAGMA query_only = ON; PRAGMA case_sensitive_like = ON; PRAGMA mmap_size = 0;")?;
    Ok(())
}

/// What a statement may do: read tables and call functions. The last fence, behind our own SQL and the read-only file.
fn authorize(context: AuthContext<'_>) -> Authorization {
    match context.action {
        AuthAction::Select
        | AuthAction::Read { .. }
        | AuthAction::Recursive
        | AuthAction::Transaction { .. }
        // The second is asked by full-text indexes, to learn whether what they remember is still so.
        | AuthAction::Pragma { pragma_name: "schema_version" | "data_version", pragma_value: None }
        | AuthAction::Pragma { pragma_name: "table_list" | "table_xinfo", .. } => Authorization::Allow,
        AuthAction::Function { function_name } if !is_dangerous(function_name) => Authorization::Allow,
        _ => Authorization::Deny,
    }
}

/// Functions that reach beyond the database or fill memory at a word.
fn is_dangerous(function: &str) -> bool {
    const DANGEROUS: [&str; 5] = ["load_extension", "readfile", "writefile", "edit", "fts3_tokenizer"];
    DANGEROUS.iter().any(|name| function.eq_ignore_ascii_case(name))
}

/// What tells one file from another that has taken its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

fn identity(location: &Location) -> Result<Option<Identity>, Failure> {
    let Location::File { path, .. } = location else { return Ok(None) };
    let metadata = fs::metadata(path).map_err(|error| Failure::Bridge(cannot_open(Box::new(error))))?;
    // Opening a pipe or a device would hang or read something that is no database.
    if !metadata.is_file() {
        return Err(BridgeError::unreachable(
            "the database cannot be opened: its path names no file, but a folder or a device",
        )
        .into());
    }
    Ok(identity_of(&metadata))
}

#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere files have no inode")]
fn identity_of(metadata: &fs::Metadata) -> Option<Identity> {
    use std::os::unix::fs::MetadataExt;
    Some(Identity { device: metadata.dev(), inode: metadata.ino() })
}

#[cfg(not(unix))]
fn identity_of(_metadata: &fs::Metadata) -> Option<Identity> {
    None
}

/// The path stays out of the message: it is the operator's business, not the caller's.
fn cannot_open(source: Box<dyn std::error::Error + Send + Sync>) -> BridgeError {
    let kind = source.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    let message = match kind {
        Some(ErrorKind::NotFound) => {
            "the database cannot be opened: there is no file at its path (this bridge creates none; a path that does not \
             begin with / begins in the runner's working directory)"
                .to_owned()
        }
        Some(ErrorKind::PermissionDenied) => {
            "the database cannot be opened: the user who runs the runner may not read the file at its path".to_owned()
        }
        Some(kind) => format!("the database cannot be opened: {kind}"),
        None => "the database cannot be opened".to_owned(),
    };
    BridgeError::Unreachable { message, source: Some(source) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(path: &Path) -> Session {
        let location = Location::File { path: path.to_owned(), immutable: false };
        let settings = Settings { location, busy_timeout: Duration::ZERO, pool_max: 1 };
        Session::new(Arc::new(settings), Arc::new(Control::new()))
    }

    fn refusal(session: &mut Session, words: &'static str) -> Option<String> {
        let refused = session.transaction(|transaction| Ok(transaction.connection.execute_batch(words)?));
        refused.err().map(|error| error.to_string())
    }

    #[test]
    fn nothing_but_reading_is_possible_on_a_connection() {
        let name = format!("semilayer-sqlite-session-{}.db", std::process::id());
        let path = std::env::temp_dir().join(name);
        let writer = Connection::open(&path).unwrap();
        writer
            .execute_batch("CREATE TABLE t(a); CREATE INDEX i ON t(a); CREATE VIEW v AS SELECT * FROM t")
            .unwrap();
        let before = fs::read(&path).unwrap();
        let mut session = session(&path);
        for words in [
            "INSERT INTO t VALUES (1)",
            "UPDATE t SET a = 1",
            "DELETE FROM t",
            "DROP TABLE t",
            "CREATE TABLE u(a)",
            "CREATE TEMP TABLE u(a)",
            "CREATE TEMP VIEW u AS SELECT 1",
            "CREATE VIRTUAL TABLE u USING fts5(a)",
            "ATTACH ':memory:' AS other",
            "ATTACH '/etc/passwd' AS other",
            "VACUUM INTO '/tmp/copy.db'",
            "REINDEX",
            "ANALYZE",
            "PRAGMA query_only = OFF",
            "PRAGMA writable_schema = ON",
            "PRAGMA journal_mode = WAL",
            "PRAGMA user_version = 7",
            "PRAGMA trusted_schema = ON",
            "PRAGMA temp_store_directory = '/'",
            "SELECT load_extension('evil')",
            "SELECT fts3_tokenizer('simple')",
        ] {
            let refused = refusal(&mut session, words).unwrap_or_else(|| panic!("{words} was done"));
            assert!(!refused.contains("syntax"), "{words}: {refused}");
        }
        assert_eq!(refusal(&mut session, "SELECT * FROM v"), None);
        assert_eq!(fs::read(&path).unwrap(), before);
        fs::remove_file(&path).unwrap();
    }
}
