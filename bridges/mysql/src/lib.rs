//! The MySQL bridge, which is MariaDB's and PlanetScale's too: streams rows out of read-only sessions, over a wire client
//! of its own.
//!
//! A statement's rows are parsed where the socket has put them and written as JSON at once; a stream that is dropped is
//! killed at the server. Types, settings and guarantees are described in `docs/bridges/mysql.md`.

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

    pub use crate::execute::told::tell;
    pub use crate::wire::scripted::{Dialect, packet, push_text};
}

use std::fmt;

use bridge_core::{
    Bridge, BridgeError, Call, ConfigMistakes, Declaration, NativeDriver, Remembered, RowStream, TargetSchema,
};
use bridge_sql::{Dialect, Engine, Shape, Sql, SqlError, SqlSource, Statement};
use protocol::{PoolUse, SearchOptions, SimilarOptions, SourceConfig};

use crate::config::Settings;
use crate::connect::{Lease, Pool, Server};
use crate::error::STALE_CATALOG;
use crate::execute::{Access, MyRows};
use crate::flavor::{Flavor, MARIADB_FLAVOR, MYSQL_FLAVOR, PLANETSCALE_FLAVOR};
use crate::introspect::Relation;
use crate::similar::Vector;

/// The drivers of this crate: one implementation with what the flavors differ in as data.
#[derive(Clone, Copy)]
pub struct MysqlDriver(&'static Flavor);

/// MySQL, from version 5.7 on; window functions, which some aggregates need, are in 8.0 and later.
#[expect(non_upper_case_globals, reason = "a driver is named like those of the sibling crates")]
pub static Mysql: MysqlDriver = MysqlDriver(&MYSQL_FLAVOR);

/// MariaDB, from version 10.3 on.
#[expect(non_upper_case_globals, reason = "a driver is named like those of the sibling crates")]
pub static Mariadb: MysqlDriver = MysqlDriver(&MARIADB_FLAVOR);

/// PlanetScale over the MySQL protocol.
#[expect(non_upper_case_globals, reason = "a driver is named like those of the sibling crates")]
pub static Planetscale: MysqlDriver = MysqlDriver(&PLANETSCALE_FLAVOR);

impl NativeDriver for MysqlDriver {
    fn declaration(&self) -> Declaration<'_> {
        self.0.declaration()
    }

    fn check(&self, config: &SourceConfig) -> Result<(), ConfigMistakes> {
        Settings::read(self.0, config).map(drop)
    }

    async fn connect(&self, config: &SourceConfig, call: &Call) -> Result<Box<dyn Bridge>, BridgeError> {
        let settings = Settings::read(self.0, config)?;
        let source = SqlSource(Opened {
            flavor: self.0,
            pool: Pool::new(Server::new(&settings), settings.pool_max),
            relations: Remembered::new(STALE_CATALOG),
        });
        source.test(call).await?;
        Ok(Box::new(source))
    }
}

impl fmt::Debug for MysqlDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MysqlDriver").field(&self.0.name).finish()
    }
}

/// One database.
struct Opened {
    flavor: &'static Flavor,
    pool: Pool,
    relations: Remembered<Relation>,
}

impl Opened {
    fn access<'a>(&'a self, call: &'a Call) -> Access<'a> {
        Access { pool: &self.pool, call }
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
        &self.flavor.dialect
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
        introspect::look_up(self.access(call), lease, self.flavor, target).await
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
        let mut rows = self.access(call).start(lease, statement.shape.sql()).await?;
        if let Shape::Row(select) = &statement.shape {
            rows = rows.with_vectors(&relation.table, select);
        }
        Ok(Box::new(MyRows::new(self.pool.clone(), rows, statement, call)))
    }

    async fn search(
        &self,
        call: &Call,
        lease: Lease,
        relation: &Relation,
        options: &SearchOptions,
    ) -> Result<RowStream, BridgeError> {
        let (indexes, lease) = introspect::full_text(self.access(call), lease, &relation.table).await?;
        let planned = search::plan(self.flavor, &relation.table, &indexes, options);
        let (select, method) = planned.map_err(|error| self.refused(error))?;
        self.rows(call, lease, relation, Statement { method: Some(method), ..select.into() }).await
    }

    async fn similar(
        &self,
        call: &Call,
        lease: Lease,
        relation: &Relation,
        options: &SimilarOptions,
    ) -> Result<RowStream, BridgeError> {
        let Some(vector) = Vector::of(relation, &options.field) else {
            let access = self.access(call);
            return Err(similar::without_vectors(access, lease, self.flavor, &relation.table).await);
        };
        let planned = similar::plan(self.flavor, &relation.table, vector, options);
        let select = planned.map_err(|error| self.refused(error))?;
        self.rows(call, lease, relation, select.into()).await
    }

    async fn list(&self, call: &Call) -> Result<Vec<String>, BridgeError> {
        introspect::list(self.access(call)).await
    }

    fn describe(&self, target: &str, relation: &Relation, row_count: u64) -> TargetSchema {
        introspect::describe(target, relation, self.flavor, row_count)
    }

    fn pool_use(&self) -> PoolUse {
        self.pool.usage()
    }

    async fn close(&self) {
        self.pool.close().await;
    }
}
