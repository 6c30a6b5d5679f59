//! `similar`: rows by the distance of vectors, in the words of MariaDB 11.7 and later.
//!
//! A vector is bound as the bytes that a column keeps. The text of one, through `VEC_FromText`, would be read anew for
//! every row that is compared. A `VECTOR` index serves what has no filter, not even that of a view: it ends its search
//! before it has met the few rows that pass one.

use bridge_core::BridgeError;
use bridge_sql::{
    Param, Ranking, Select, SqlError, SqlText, Table, Value, own_column, similar, write_vector_of,
};
use protocol::{Invalid, Metric, Scalar, SimilarOptions, SimilarTo};

use crate::connect::Lease;
use crate::execute::Access;
use crate::flavor::Flavor;
use crate::introspect::{Relation, question};

/// Answers 0 where the server has no vectors.
const VECTORS: &str = "SELECT COUNT(*) FROM information_schema.PLUGINS WHERE PLUGIN_NAME = 'mhnsw'";

/// The statement.
pub(crate) fn plan(
    flavor: &Flavor,
    table: &Table,
    vector: Vector<'_>,
    options: &SimilarOptions,
) -> Result<Select, SqlError> {
    similar(&flavor.dialect, table, options, &Nearest::new(table, vector, options)?)
}

/// Why there is nothing to compare with: the field, or the whole server.
pub(crate) async fn without_vectors(
    access: Access<'_>,
    lease: Lease,
    flavor: &Flavor,
    table: &Table,
) -> BridgeError {
    match access.number(lease, &question(VECTORS, &[])).await {
        Err(error) => error,
        Ok((0, _)) => BridgeError::UnsupportedKind {
            what: "similar before MariaDB 11.7".to_owned(),
            bridge: flavor.name.to_owned(),
        },
        Ok(_) => Invalid::new("field", format!("a column of vectors of {}", table.display_name())).into(),
    }
}

/// A column of vectors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Vector<'a> {
    column: &'a str,
    /// How many numbers each has.
    dimensions: usize,
}

impl<'a> Vector<'a> {
    /// The column, where it is one of vectors.
    pub(crate) fn of(relation: &'a Relation, column: &'a str) -> Option<Self> {
        let dimensions = relation.shown(column)?.strip_prefix("vector(")?.strip_suffix(')')?;
        Some(Self { column, dimensions: dimensions.parse().ok()? })
    }

    /// The numbers as such a column keeps them.
    fn encoded(&self, numbers: &[f64]) -> Result<Vec<u8>, Invalid> {
        if numbers.len() != self.dimensions {
            return Err(Invalid::new(
                "vector",
                format!("{} numbers, as {} has", self.dimensions, self.column),
            ));
        }
        let encoded: Result<Vec<_>, _> = numbers.iter().enumerate().map(encoded).collect();
        Ok(encoded?.concat())
    }
}

fn encoded((index, number): (usize, &f64)) -> Result<[u8; 4], Invalid> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "columns keep singles; a number too large becomes infinite"
    )]
    let single = *number as f32;
    if single.is_finite() {
        Ok(single.to_le_bytes())
    } else {
        Err(Invalid::new(format!("vector[{index}]"), "a number that a vector holds"))
    }
}

/// Ranks by the distance of a column's vectors from one vector.
struct Nearest<'a> {
    table: &'a Table,
    vector: Vector<'a>,
    other: Other<'a>,
    /// Its function.
    distance: &'static str,
    /// What stands before and after a distance to make a score of it.
    score: [&'static str; 2],
    by_index: bool,
}

/// What rows are compared with.
enum Other<'a> {
    Bound(Vec<u8>),
    OfRow(&'a Scalar),
}

impl<'a> Nearest<'a> {
    /// # Errors
    /// `vector` is not one that the column could hold; the server has no such metric.
    fn new(table: &'a Table, vector: Vector<'a>, options: &'a SimilarOptions) -> Result<Self, SqlError> {
        let (distance, score) = match options.metric {
            Metric::Cosine => ("VEC_DISTANCE_COSINE(", ["(1 - ", ")"]),
            Metric::L2 => ("VEC_DISTANCE_EUCLIDEAN(", ["(1 / (1 + ", "))"]),
            Metric::Dot => {
                return Err(SqlError::Unsupported {
                    what: "similar by the metric \"dot\"".to_owned(),
                    dialect: "mariadb",
                });
            }
        };
        let other = match &options.to {
            SimilarTo::Vector(numbers) => Other::Bound(vector.encoded(numbers)?),
            SimilarTo::Row(id) => Other::OfRow(id),
        };
        // A view has no key.
        let by_index = options.filter.is_everything() && !table.primary_key.is_empty();
        Ok(Self { table, vector, other, distance, score, by_index })
    }

    fn write_distance(&self, sql: &mut SqlText<'_>) -> Result<(), SqlError> {
        sql.syntax(self.distance);
        own_column(sql, self.vector.column);
        sql.syntax(", ");
        match &self.other {
            Other::Bound(bytes) => {
                sql.param(Param::plain(Value::Bytes(bytes.clone())));
            }
            Other::OfRow(id) => write_vector_of(sql, self.table, id, self.vector.column)?,
        }
        sql.syntax(")");
        Ok(())
    }
}

impl Ranking for Nearest<'_> {
    /// Nothing is near to null; a vector without a direction has no cosine; numbers near the ends of what a single holds
    /// have no distance. To the server what is no number is more than any.
    fn write_condition(&self, sql: &mut SqlText<'_>) -> Result<(), SqlError> {
        self.write_distance(sql)?;
        sql.syntax(" < ").number(f64::MAX);
        Ok(())
    }

    fn write_score(&self, sql: &mut SqlText<'_>) -> Result<(), SqlError> {
        let [before, after] = self.score;
        sql.syntax(before);
        self.write_distance(sql)?;
        sql.syntax(after);
        Ok(())
    }

    fn write_order(&self, sql: &mut SqlText<'_>) -> Result<(), SqlError> {
        if self.by_index {
            return self.write_distance(sql);
        }
        sql.syntax("_score DESC");
        Ok(())
    }

    fn is_taken_by_order_alone(&self) -> bool {
        self.by_index
    }
}

#[cfg(test)]
mod tests {
    use bridge_sql::{Column, Kind};
    use serde_json::json;

    use super::*;
    use crate::flavor::MARIADB_FLAVOR;

    const AT: Vector<'_> = Vector { column: "at", dimensions: 2 };

    fn planned(options: &serde_json::Value) -> Result<String, SqlError> {
        let table = Table {
            parts: vec!["places".to_owned()],
            columns: vec![
                Column::new("id", Kind::Integer { bits: 32, signed: true }, false),
                Column::new("name", Kind::Text, true),
                Column::new("at", Kind::Other, false),
            ],
            primary_key: vec!["id".to_owned()],
        };
        let options = serde_json::value::to_raw_value(options).unwrap();
        let options = SimilarOptions::parse(&options).unwrap();
        Ok(plan(&MARIADB_FLAVOR, &table, AT, &options)?.sql.text)
    }

    /// The files that a test on the server asks for their plans.
    #[test]
    fn statements_are_those_whose_plans_are_looked_at() {
        let near = json!({ "vector": [1, 2], "field": "at", "metric": "l2", "select": ["id"], "limit": 5 });
        assert_eq!(planned(&near).unwrap(), include_str!("../tests/plans/by-vector.sql").trim_end());
        let like = json!({ "id": 7, "field": "at", "select": ["id"], "limit": 5 });
        assert_eq!(planned(&like).unwrap(), include_str!("../tests/plans/by-row.sql").trim_end());
        let some = json!({ "vector": [1, 2], "field": "at", "where": { "name": "rare" }, "select": ["id"] });
        assert_eq!(planned(&some).unwrap(), include_str!("../tests/plans/filtered.sql").trim_end());
    }

    #[test]
    fn a_metric_that_the_server_has_not_is_refused() {
        let refused = planned(&json!({ "vector": [1, 2], "field": "at", "metric": "dot" })).unwrap_err();
        assert_eq!(refused.to_string(), "similar by the metric \"dot\" is not supported by mariadb");
    }

    #[test]
    fn a_vector_of_another_length_or_with_numbers_too_large_is_refused_by_name() {
        let refusal = |numbers: &[f64]| AT.encoded(numbers).unwrap_err().to_string();
        assert_eq!(refusal(&[1.0]), "vector: expected 2 numbers, as at has");
        assert_eq!(refusal(&[1.0, -3.5e38]), "vector[1]: expected a number that a vector holds");
        assert_eq!(refusal(&[1e300, 0.0]), "vector[0]: expected a number that a vector holds");
        assert_eq!(AT.encoded(&[1.0, -0.5]).unwrap(), [0, 0, 128, 63, 0, 0, 0, 191]);
    }
}
