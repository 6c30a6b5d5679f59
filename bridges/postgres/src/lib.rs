//! The PostgreSQL bridge, which is CockroachDB's, Neon's and Supabase's too: streams rows out of read-only sessions, over a wire client of its own.
//!
//! A statement's rows are parsed where the socket has put them and written as JSON at once; a stream that is dropped is
//! cancelled at the server. Types, settings and guarantees are described in `docs/bridges/postgres.md`.

mod config;
mod connect;
mod error;
mod execute;
mod flavor;
mod introspect;
mod search;
mod similar;
mod translate;
mod values;
mod wire;

/// What fuzzing reaches of the inside. No part of the interface.
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing {
    pub use bridge_net::Told;

    pub use crate::execute::told::{ARRAY, VECTOR, tell};
    pub use crate::wire::scripted::{begin, end, message, row};
}

use std::fmt;

use bridge_core::{
    Bridge, BridgeError, Call, ConfigMistakes, Declaration, NativeDriver, Remembered, RowStream, TargetSchema,
};
use bridge_sql::{Dialect, Engine, Sql, SqlError, SqlSource, Statement, Table};
use protocol::{Invalid, PoolUse, SearchMethod, SearchOptions, SimilarOptions, SourceConfig};

use crate::config::Settings;
use crate::connect::{Lease, Pool, Server};
use crate::error::STALE_CATALOG;
use crate::execute::{Access, PgRows};
use crate::flavor::{COCKROACHDB_FLAVOR, Flavor, NEON_FLAVOR, POSTGRES_FLAVOR, SUPABASE_FLAVOR};
use crate::introspect::{Catalog, Relation, question};
use crate::search::{ByTrigrams, FullText, TextIndexes, Way};
use crate::similar::Nearest;
use crate::translate::Dialects;

/// The drivers of this crate: one implementation with what the flavors differ in as data.
#[derive(Clone, Copy)]
pub struct PostgresDriver(&'static Flavor);

/// PostgreSQL, from version 12 on.
#[expect(non_upper_case_globals, reason = "a driver is named like those of the sibling crates")]
pub static Postgres: PostgresDriver = PostgresDriver(&POSTGRES_FLAVOR);

/// CockroachDB, from version 23.1 on.
#[expect(non_upper_case_globals, reason = "a driver is named like those of the sibling crates")]
pub static Cockroachdb: PostgresDriver = PostgresDriver(&COCKROACHDB_FLAVOR);

/// Neon over PostgreSQL's protocol.
#[expect(non_upper_case_globals, reason = "a driver is named like those of the sibling crates")]
pub static Neon: PostgresDriver = PostgresDriver(&NEON_FLAVOR);

/// The database of a Supabase project.
#[expect(non_upper_case_globals, reason = "a driver is named like those of the sibling crates")]
pub static Supabase: PostgresDriver = PostgresDriver(&SUPABASE_FLAVOR);

impl fmt::Debug for PostgresDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PostgresDriver").field(&self.0.name).finish()
    }
}

impl NativeDriver for PostgresDriver {
    fn declaration(&self) -> Declaration<'_> {
        self.0.declaration()
    }

    fn check(&self, config: &SourceConfig) -> Result<(), ConfigMistakes> {
        Settings::read(&self.0.rules, config).map(drop)
    }

    async fn connect(&self, config: &SourceConfig, call: &Call) -> Result<Box<dyn Bridge>, BridgeError> {
        let flavor = self.0;
        let settings = Settings::read(&flavor.rules, config)?;
        let source = SqlSource(Opened {
            flavor,
            pool: Pool::new(Server::new(flavor.title, &settings), settings.pool_max),
            dialects: Dialects::new(flavor.dialect, settings.postgis),
            catalog: Catalog::new(flavor, settings.schema),
            relations: Remembered::new(STALE_CATALOG),
        });
        source.test(call).await?;
        Ok(Box::new(source))
    }
}

/// One database.
struct Opened {
    flavor: &'static Flavor,
    pool: Pool,
    catalog: Catalog,
    relations: Remembered<Relation>,
    dialects: Dialects,
}

impl Opened {
    fn access<'a>(&'a self, call: &'a Call) -> Access<'a> {
        Access { pool: &self.pool, call }
    }

    /// What the table has that ranks by text, remembered with the table.
    async fn text_indexes<'a>(
        &self,
        access: Access<'_>,
        lease: Lease,
        relation: &'a Relation,
    ) -> Result<(&'a TextIndexes, Lease), BridgeError> {
        match (relation.text_indexes.get(), relation.table.parts.as_slice()) {
            (Some(indexes), _) => Ok((indexes, lease)),
            (None, [schema, name]) if self.flavor.has_text_indexes => {
                let (indexes, lease) = TextIndexes::look_up(access, lease, [schema, name]).await?;
                Ok((relation.text_indexes.get_or_init(|| indexes), lease))
            }
            (None, _) => Ok((relation.text_indexes.get_or_init(TextIndexes::default), lease)),
        }
    }

    /// Why there is nothing to compare with: the field, or the whole database.
    async fn without_vectors(&self, access: Access<'_>, lease: Lease, table: &Table) -> BridgeError {
        match access.number(lease, &question(similar::EXTENSION, &[])).await {
            Err(error) => error,
            Ok((0, _)) => BridgeError::UnsupportedKind {
                what: "similar without the extension \"vector\" in the database".to_owned(),
                bridge: self.flavor.name.to_owned(),
            },
            Ok(_) => Invalid::new("field", format!("a column of vectors of {}", table.display_name())).into(),
        }
    }

    fn refused(&self, error: SqlError) -> BridgeError {
        error.of_bridge(self.flavor.name)
    }
}

impl Engine for Opened {
    type Lease = Lease;
    type Relation = Relation;

    fn declaration(&self) -> Declaration<'_> {
        self.flavor.declaration()
    }

    fn dialect(&self) -> &Dialect {
        self.dialects.plain()
    }

    fn relations(&self) -> &Remembered<Relation> {
        &self.relations
    }

    async fn lease(&self, call: &Call) -> Result<Lease, BridgeError> {
        self.access(call).lease().await
    }

    async fn look_up(
        &self,
        call: &Call,
        lease: Lease,
        target: &str,
    ) -> Result<(Relation, Lease), BridgeError> {
        self.catalog.look_up(self.access(call), lease, target).await
    }

    async fn number(&self, call: &Call, lease: Lease, sql: &Sql) -> Result<u64, BridgeError> {
        let (number, _lease) = self.access(call).number(lease, sql).await?;
        Ok(number)
    }

    async fn rows(
        &self,
        call: &Call,
        lease: Lease,
        relation: &Relation,
        statement: Statement,
    ) -> Result<RowStream, BridgeError> {
        let rows = self.access(call).start(lease, statement.shape.sql()).await?;
        Ok(Box::new(PgRows::new(self.pool.clone(), rows, statement, &relation.types, call)))
    }

    async fn search(
        &self,
        call: &Call,
        lease: Lease,
        relation: &Relation,
        options: &SearchOptions,
    ) -> Result<RowStream, BridgeError> {
        let (indexes, lease) = self.text_indexes(self.access(call), lease, relation).await?;
        let (dialect, table) = (self.dialects.plain(), &relation.table);
        let (select, method) = match indexes.way(options.fields.as_deref()) {
            Way::FullText(vector) => {
                let ranking = FullText { vector, options };
                (bridge_sql::search(dialect, table, options, &ranking), SearchMethod::FullText)
            }
            Way::Trigrams(columns) => {
                let ranking = ByTrigrams { columns, options };
                (bridge_sql::search(dialect, table, options, &ranking), SearchMethod::Trigram)
            }
            Way::Containment => {
                (bridge_sql::search_by_containment(dialect, table, options), SearchMethod::Containment)
            }
        };
        let select = select.map_err(|error| self.refused(error))?;
        self.rows(call, lease, relation, Statement { method: Some(method), ..select.into() }).await
    }

    async fn similar(
        &self,
        call: &Call,
        lease: Lease,
        relation: &Relation,
        options: &SimilarOptions,
    ) -> Result<RowStream, BridgeError> {
        let Some(vector) = relation.vectors.iter().find(|vector| vector.column == options.field) else {
            return Err(self.without_vectors(self.access(call), lease, &relation.table).await);
        };
        let ranking = Nearest::new(&relation.table, vector, options)?;
        let select = bridge_sql::similar(self.dialects.plain(), &relation.table, options, &ranking);
        let select = select.map_err(|error| self.refused(error))?;
        self.rows(call, lease, relation, select.into()).await
    }

    async fn list(&self, call: &Call) -> Result<Vec<String>, BridgeError> {
        self.catalog.list(self.access(call)).await
    }

    fn describe(&self, target: &str, relation: &Relation, row_count: u64) -> TargetSchema {
        introspect::describe(target, relation, row_count)
    }

    fn pool_use(&self) -> PoolUse {
        self.pool.usage()
    }

    async fn close(&self) {
        self.pool.close().await;
    }
}
