//! What a plugin implements.

use serde::de::DeserializeOwned;

use crate::cursor::Counted;
use crate::options::{
    AggregateOptions, CountOptions, QueryOptions, ReadOptions, SearchOptions, SimilarOptions,
};
use crate::{Description, Error, Mistake, Provides, Rows, Schema};

/// A bridge: one value is one connection to a source, and works on one job at a time.
///
/// `read` is all that must be written. The runner answers the other kinds of jobs from it: it reads the target and
/// filters, orders, counts, aggregates or ranks in bounded memory. What the database does better by itself, a plugin
/// takes over: it implements the method and names it in [`PROVIDES`](Self::PROVIDES).
pub trait Bridge: Sized + 'static {
    /// The source's settings, read with serde from an object with the keys of the description's fields.
    type Config: DeserializeOwned;

    /// The jobs that the plugin answers itself beside `read`, e.g. `Provides::QUERY.union(Provides::COUNT)`.
    const PROVIDES: Provides = Provides::empty();

    /// What the plugin is. Always the same; asked without connection and network.
    fn describe() -> Description;

    /// Everything that is wrong with settings that serde could read. No network.
    fn check(_config: &Self::Config) -> Vec<Mistake> {
        Vec::new()
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// `unreachable`, `unauthenticated` and the like; the caller sees that the source cannot be reached.
    fn connect(config: Self::Config) -> Result<Self, Error>;

    /// Proves that the database answers.
    ///
    /// # Errors
    /// That of the attempt.
    fn test(&mut self) -> Result<(), Error> {
        self.targets().map(drop)
    }

    /// The targets, in any order.
    ///
    /// # Errors
    /// That of the database.
    fn targets(&mut self) -> Result<Vec<String>, Error>;

    /// The columns of one target.
    ///
    /// # Errors
    /// `not-found` where there is no such target, or that of the database.
    fn schema(&mut self, target: &str) -> Result<Schema, Error>;

    /// One page of a scan in a stable order, that of the primary key where there is one: at most `options.limit` rows from
    /// `options.cursor` on, which is what an earlier page's tail gave. Rows may have more columns than
    /// `options.projection` names. `options.changed_since` counts only where the description has
    /// [`Capabilities::CHANGED_SINCE`](crate::Capabilities::CHANGED_SINCE).
    ///
    /// The limit is large when the runner filters or aggregates: rows are best fetched as they are pulled.
    ///
    /// # Errors
    /// `not-found` where there is no such target, or that of the database.
    fn read(&mut self, target: &str, options: ReadOptions) -> Result<Rows, Error>;

    /// Rows by filter, order, limit and offset. Operators are those that the description's capabilities have.
    ///
    /// # Errors
    /// That of the database.
    fn query(&mut self, _target: &str, _options: QueryOptions) -> Result<Rows, Error> {
        Err(Error::unsupported_kind("query"))
    }

    /// How many rows match.
    ///
    /// # Errors
    /// That of the database.
    fn count(&mut self, _target: &str, _options: CountOptions) -> Result<Counted, Error> {
        Err(Error::unsupported_kind("count"))
    }

    /// Buckets: `{"dims": {…}, "measures": {…}, "count": n}`, or columns of the dimensions, of the measures, and `count`.
    ///
    /// # Errors
    /// That of the database; `unsupported-kind` for what the description's aggregates do not have.
    fn aggregate(&mut self, _target: &str, _options: AggregateOptions) -> Result<Rows, Error> {
        Err(Error::unsupported_kind("aggregate"))
    }

    /// Rows ranked by text, best first, each with a column [`SCORE`](crate::options::SCORE).
    ///
    /// # Errors
    /// That of the database.
    fn search(&mut self, _target: &str, _options: SearchOptions) -> Result<Rows, Error> {
        Err(Error::unsupported_kind("search"))
    }

    /// Rows ranked by the distance of vectors, nearest first, each with a column [`SCORE`](crate::options::SCORE).
    ///
    /// # Errors
    /// That of the database.
    fn similar(&mut self, _target: &str, _options: SimilarOptions) -> Result<Rows, Error> {
        Err(Error::unsupported_kind("similar"))
    }
}
