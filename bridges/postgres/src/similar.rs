//! `similar`: rows by the distance of vectors, in the words of pgvector.

use bridge_sql::{Param, Ranking, SqlError, SqlText, Table, Value, own_column, write_vector_of};
use protocol::{Invalid, Metric, SimilarOptions, SimilarTo};

/// Answers 1 where the database has the extension.
pub(crate) const EXTENSION: &str = "SELECT COUNT(*) FROM pg_catalog.pg_extension WHERE extname = 'vector'";

/// The largest number of a `vector`, and of a `halfvec`.
const SINGLE_MAX: f64 = 3.402_823_466_385_288_6e38;
const HALF_MAX: f64 = 65_504.0;

/// A column of vectors.
#[derive(Debug)]
pub(crate) struct Vector {
    pub(crate) column: String,
    /// Schema and name: extensions are in any schema, and need not be on the search path.
    pub(crate) type_name: [String; 2],
    /// How many numbers each has; nothing where that was not declared.
    pub(crate) dimensions: Option<usize>,
}

/// Ranks by the distance of a column's vectors from one vector.
pub(crate) struct Nearest<'a> {
    table: &'a Table,
    vector: &'a Vector,
    options: &'a SimilarOptions,
}

impl<'a> Nearest<'a> {
    /// # Errors
    /// `vector` is not one that the column could hold.
    pub(crate) fn new(
        table: &'a Table,
        vector: &'a Vector,
        options: &'a SimilarOptions,
    ) -> Result<Self, Invalid> {
        if let SimilarTo::Vector(numbers) = &options.to {
            vector.check(numbers)?;
        }
        Ok(Self { table, vector, options })
    }

    /// What rows are compared with.
    fn write_other(&self, sql: &mut SqlText<'_>) -> Result<(), SqlError> {
        match &self.options.to {
            SimilarTo::Vector(numbers) => {
                sql.syntax("CAST(").param(Param::plain(Value::Text(literal(numbers)))).syntax(" AS ");
                sql.name(&self.vector.type_name).syntax(")");
                Ok(())
            }
            SimilarTo::Row(id) => write_vector_of(sql, self.table, id, &self.vector.column),
        }
    }

    /// The operator by its full name, so that no search path can put another in its place. An index serves an order by
    /// exactly this.
    fn write_distance(&self, sql: &mut SqlText<'_>) -> Result<(), SqlError> {
        let [schema, _] = &self.vector.type_name;
        own_column(sql, &self.vector.column);
        sql.syntax(" OPERATOR(").ident(schema);
        sql.syntax(match self.options.metric {
            Metric::Cosine => ".<=>) ",
            Metric::L2 => ".<->) ",
            // The negative inner product.
            Metric::Dot => ".<#>) ",
        });
        self.write_other(sql)
    }

    /// Vectors of another length cannot be compared; in a column without a declared one there may be some.
    fn write_same_length(&self, sql: &mut SqlText<'_>) -> Result<(), SqlError> {
        let [schema, _] = &self.vector.type_name;
        let begin = |sql: &mut SqlText<'_>| {
            sql.ident(schema).syntax(".vector_dims(");
        };
        begin(sql);
        own_column(sql, &self.vector.column);
        sql.syntax(") = ");
        begin(sql);
        self.write_other(sql)?;
        sql.syntax(")");
        Ok(())
    }

    /// The cosine with a vector of zeros is no number.
    fn write_has_score(&self, sql: &mut SqlText<'_>) -> Result<(), SqlError> {
        if self.options.metric == Metric::Cosine {
            sql.syntax("(");
            self.write_distance(sql)?;
            sql.syntax(") <> CAST('NaN' AS double precision)");
        } else {
            sql.syntax("true");
        }
        Ok(())
    }
}

impl Ranking for Nearest<'_> {
    fn write_condition(&self, sql: &mut SqlText<'_>) -> Result<(), SqlError> {
        own_column(sql, &self.vector.column);
        sql.syntax(" IS NOT NULL AND ");
        if let SimilarTo::Row(_) = &self.options.to {
            self.write_other(sql)?;
            sql.syntax(" IS NOT NULL AND ");
        }
        if self.vector.dimensions.is_some() {
            return self.write_has_score(sql);
        }
        // Not AND: the server may compare first and look at the lengths later.
        sql.syntax("CASE WHEN ");
        self.write_same_length(sql)?;
        sql.syntax(" THEN ");
        self.write_has_score(sql)?;
        sql.syntax(" ELSE false END");
        Ok(())
    }

    fn write_score(&self, sql: &mut SqlText<'_>) -> Result<(), SqlError> {
        let (before, after) = match self.options.metric {
            Metric::Cosine => ("(1 - (", "))"),
            Metric::L2 => ("(1 / (1 + (", ")))"),
            Metric::Dot => ("(- (", "))"),
        };
        sql.syntax(before);
        self.write_distance(sql)?;
        sql.syntax(after);
        Ok(())
    }

    fn write_order(&self, sql: &mut SqlText<'_>) -> Result<(), SqlError> {
        self.write_distance(sql)
    }

    fn is_taken_by_order_alone(&self) -> bool {
        true
    }
}

impl Vector {
    fn check(&self, numbers: &[f64]) -> Result<(), Invalid> {
        if let Some(dimensions) = self.dimensions.filter(|dimensions| *dimensions != numbers.len()) {
            return Err(Invalid::new("vector", format!("{dimensions} numbers, as {} has", self.column)));
        }
        let [_, type_name] = &self.type_name;
        let max = if type_name == "halfvec" { HALF_MAX } else { SINGLE_MAX };
        match numbers.iter().position(|number| number.abs() > max) {
            Some(index) => {
                Err(Invalid::new(format!("vector[{index}]"), format!("a number that a {type_name} holds")))
            }
            None => Ok(()),
        }
    }
}

/// `[1,2.5]`
fn literal(numbers: &[f64]) -> String {
    let numbers: Vec<String> = numbers.iter().map(|number| format!("{number:e}")).collect();
    format!("[{}]", numbers.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(type_name: &str, dimensions: Option<usize>) -> Vector {
        let type_name = ["public".to_owned(), type_name.to_owned()];
        Vector { column: "e".to_owned(), type_name, dimensions }
    }

    #[test]
    fn a_vector_of_another_length_or_with_numbers_too_large_is_refused_by_name() {
        let refusal = |vector: Vector, numbers: &[f64]| vector.check(numbers).unwrap_err().to_string();
        assert_eq!(refusal(vector("vector", Some(3)), &[1.0]), "vector: expected 3 numbers, as e has");
        assert_eq!(
            refusal(vector("halfvec", Some(2)), &[1.0, -1e6]),
            "vector[1]: expected a number that a halfvec holds"
        );
        assert_eq!(
            refusal(vector("vector", None), &[1e300]),
            "vector[0]: expected a number that a vector holds"
        );
        assert_eq!(vector("vector", None).check(&[1e38, -1e38]), Ok(()));
    }

    #[test]
    fn numbers_are_said_so_that_they_read_back() {
        assert_eq!(literal(&[1.0, -0.5, 1e-7]), "[1e0,-5e-1,1e-7]");
    }
}
