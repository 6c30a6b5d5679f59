//! What a bridge's own test gives to the suite: databases of its engine, and ways to look at them from outside.

use bridge_core::BoxFuture;
use protocol::{QueryOptions, SourceConfig};

use crate::seed::{Decimals, Instants, Seed};

/// Real databases of one engine. Everything here is done without the bridge under test.
pub trait Fixture: Send + Sync {
    /// The settings with which the bridge opens a database. Called after it has been seeded.
    fn config(&self, database: Database) -> SourceConfig;

    /// Creates the seed's tables, as the exact names say, and fills them. The database's locale must know Unicode's lower
    /// case (`C.UTF-8` does, `C` does not), and columns that may not be null must be declared so.
    ///
    /// Called once for each database, on an empty one.
    /// An error ends the run.
    fn seed<'a>(&'a self, database: Database, seed: &'a Seed) -> BoxFuture<'a, Result<(), String>>;

    /// Settings of a role that may do no more than read the tables of [`Database::First`].
    fn least_privilege(&self) -> Offer<SourceConfig>;

    /// A query that runs for at least a minute before its first row, on [`Database::First`] (a view that sleeps or
    /// counts; made in [`seed`](Fixture::seed)).
    fn slow_query(&self) -> Offer<SlowQuery>;

    /// Asks the server itself whether a statement of [`slow_query`](Fixture::slow_query) is running now.
    fn slow_query_runs(&self) -> BoxFuture<'_, Result<bool, String>>;

    /// How the bridge names a table as a target. By default a plain name as it is, and any other in double quotes with
    /// quotes doubled.
    fn target(&self, table: &str) -> String {
        quoted_target(table)
    }

    /// How the bridge names a table together with its schema or database, e.g. `public.small`.
    fn qualified_target(&self, table: &str) -> Offer<String>;

    /// What the engine knows of its tables.
    fn catalog(&self) -> Catalog {
        Catalog::Declared
    }

    /// The cursor of a page of `read` that ended with the row of this key: the key as text where tables are declared.
    fn cursor(&self, _table: &str, key: &str) -> String {
        key.to_owned()
    }

    /// Whether the engine keeps every digit of a decimal.
    fn decimals(&self) -> Decimals {
        Decimals::Exact
    }

    /// How many keys the longest list of a filter has. Fewer than the default only for a server that is not the engine
    /// itself and compares them one by one.
    fn most_keys(&self) -> u64 {
        12_000
    }

    /// How exactly the engine keeps instants.
    fn instants(&self) -> Instants {
        Instants::Microseconds
    }

    /// Whether descriptions say how many rows a target has. Elsewhere 0 rows are an unknown number, as the contract has it.
    fn counts_rows(&self) -> bool {
        true
    }

    /// Whether UUIDs, dates and times are text to the engine, so that an operand compares with them as text: only one in
    /// the same form finds its row.
    fn compares_as_text(&self) -> bool {
        false
    }
}

/// What an engine knows of its tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Catalog {
    /// Tables and columns are declared: a name that is none is refused.
    Declared,
    /// There are only rows. A table without rows is not there, any name may be one, and a column that a row lacks is
    /// null. Beside the seed's columns each row has a key of the engine's own, which is the primary key.
    Rows {
        /// The column of that key.
        key: &'static str,
    },
}

/// One of the fixture's two databases. Both are of the same engine, and if possible on the same server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Database {
    /// The one that nearly all cases use.
    First,
    /// Another one, with a table of the same name and other rows.
    Second,
}

/// What an engine may not have. The reason is shown in the report.
#[derive(Debug, Clone)]
pub enum Offer<T> {
    /// Here it is.
    Given(T),
    /// The engine has no such thing, because of this.
    Impossible(&'static str),
}

/// A query that takes long.
#[derive(Debug, Clone)]
pub struct SlowQuery {
    /// The target, as the bridge takes it.
    pub target: String,
    /// The options.
    pub options: QueryOptions,
}

fn quoted_target(table: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if table.bytes().all(plain) && !table.bytes().next().is_none_or(|first| first.is_ascii_digit()) {
        table.to_owned()
    } else {
        format!("\"{}\"", table.replace('"', "\"\""))
    }
}
