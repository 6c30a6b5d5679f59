//! One translator from filters, orders and aggregates to the SQL of every dialect. Pure: no IO, no async but that of a
//! [`SqlSource`], which waits for what its [`Engine`] does.
//!
//! A bridge learns a [`Table`] from its catalog, asks for a [`Select`], a count or an [`AggregatePlan`], and executes the
//! [`Sql`] that comes back. Text is made by three verbs ([`SqlText`]), so nothing from a request becomes syntax; operands
//! are made to fit their columns first, so no operand makes a database fail.

mod aggregate;
mod conform;
mod dialect;
mod error;
mod filter;
mod keyset;
mod pattern;
mod ranked;
mod select;
mod source;
mod table;
mod text;

pub use aggregate::{AggregatePlan, BucketColumn, Decode, Role, aggregate};
pub use dialect::{
    Aggregates, BIGQUERY, CLICKHOUSE, COCKROACHDB, Cell, DUCKDB, Dialect, LIBSQL, MARIADB, MSSQL, MYSQL,
    Matching, Membership, Nulls, ORACLE, POSTGRES, Paging, SNOWFLAKE, SQLITE,
};
pub use error::SqlError;
pub use pattern::PatternSyntax;
pub use ranked::{
    Ranking, own_column, search, search_by_containment, search_fields, similar, write_vector_of,
};
pub use select::{Level, Select, count, query, read};
pub use source::{Engine, Shape, SqlSource, Statement};
pub use table::{Column, Extent, Kind, Repertoire, Table, parse_target};
pub use text::{Param, Printed, Sql, SqlText, Value};
