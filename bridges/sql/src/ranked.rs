//! Statements that rank rows: `search` and `similar`.
//!
//! This knows what such a statement looks like, and how to rank by containment in any dialect. An engine's own words for
//! full text and vectors come from its bridge, as a [`Ranking`].

use protocol::{
    Filter, Invalid, Projection, SCORE, Scalar, SearchOptions, SimilarOptions, SimilarTo, Test, TextMatch,
    Where,
};

use crate::filter::{Alias, write_filter};
use crate::select::{BASE, Base, Conditions, primary_key, write_output, write_paging};
use crate::{Dialect, Kind, Select, SqlError, SqlText, Table};

/// How one statement ranks. The table goes by an alias: its columns are written by [`own_column`].
pub trait Ranking {
    /// Writes what follows the table in `FROM`, with a space before it: a join to an index.
    fn write_join(&self, _sql: &mut SqlText<'_>) {}

    /// Writes the condition that rows without a score fail; it is put into parentheses.
    ///
    /// # Errors
    /// What the caller got wrong, by field.
    fn write_condition(&self, sql: &mut SqlText<'_>) -> Result<(), SqlError>;

    /// Writes the score: a number, the larger the better.
    ///
    /// # Errors
    /// What the caller got wrong, by field.
    fn write_score(&self, sql: &mut SqlText<'_>) -> Result<(), SqlError>;

    /// Writes the order, best first, where an index serves another expression than the score's.
    ///
    /// # Errors
    /// What the caller got wrong, by field.
    fn write_order(&self, sql: &mut SqlText<'_>) -> Result<(), SqlError> {
        sql.syntax("_score DESC");
        Ok(())
    }

    /// Whether an index gives rows in the order that [`write_order`](Self::write_order) writes, and in no longer one. Then
    /// rows are taken by that order alone and put into the order of score and key afterwards; which of those that are
    /// level at the limit are taken is the engine's choice.
    fn is_taken_by_order_alone(&self) -> bool {
        false
    }
}

/// Writes a column of the ranked table.
pub fn own_column(sql: &mut SqlText<'_>, name: &str) {
    BASE.write(sql);
    sql.syntax(".").ident(name);
}

/// The columns that a search looks into: those that it names, otherwise every visible column of text.
///
/// # Errors
/// `fields[i]` is not a column of text; there is none at all.
pub fn search_fields<'a>(table: &'a Table, options: &'a SearchOptions) -> Result<Vec<&'a str>, Invalid> {
    let is_text = |kind: Kind| matches!(kind, Kind::Text | Kind::Enum | Kind::Unknown);
    let Some(fields) = &options.fields else {
        let texts = table.columns.iter().filter(|column| !column.hidden && column.kind == Kind::Text);
        let texts: Vec<&str> = texts.map(|column| column.name.as_str()).collect();
        return if texts.is_empty() {
            Err(Invalid::new(
                "fields",
                format!("columns of {}, which has none of text", table.display_name()),
            ))
        } else {
            Ok(texts)
        };
    };
    let named = |(index, field): (usize, &'a String)| match table.column(field) {
        Some(column) if is_text(column.kind) => Ok(field.as_str()),
        None if table.columns.is_empty() => Ok(field.as_str()),
        _ => Err(Invalid::new(
            format!("fields[{index}]"),
            format!("a column of text of {}", table.display_name()),
        )),
    };
    fields.iter().enumerate().map(named).collect()
}

/// `search` by an engine's own words.
///
/// # Errors
/// Columns that the table does not have.
pub fn search(
    dialect: &Dialect,
    table: &Table,
    options: &SearchOptions,
    ranking: &impl Ranking,
) -> Result<Select, SqlError> {
    let rows = Ranked {
        table,
        projection: &options.projection,
        conditions: vec![("where", &options.filter)],
        limit: options.limit,
    };
    rows.select(dialect, ranking)
}

/// `search` by containment: the share of the query's words that a row holds, whatever the case. See
/// [`protocol::SearchMethod::Containment`].
///
/// # Errors
/// As [`search_fields`] and [`search`].
pub fn search_by_containment(
    dialect: &Dialect,
    table: &Table,
    options: &SearchOptions,
) -> Result<Select, SqlError> {
    let fields = search_fields(table, options)?;
    let words = options.words();
    let any_of = |word: &str| Filter::from_where(contained(&fields, word));
    let containment = Containment {
        base: Base { table, alias: Some(BASE) },
        any: Filter::from_where(Where::Any(words.iter().map(|word| contained(&fields, word)).collect())),
        parts: words.iter().map(|word| any_of(word)).chain([any_of(&options.phrase())]).collect(),
    };
    search(dialect, table, options, &containment)
}

/// `similar` by an engine's own words. The row that the others are compared with is left out.
///
/// # Errors
/// Columns that the table does not have; an id for a table without a primary key of one column.
pub fn similar(
    dialect: &Dialect,
    table: &Table,
    options: &SimilarOptions,
    ranking: &impl Ranking,
) -> Result<Select, SqlError> {
    let others = match &options.to {
        SimilarTo::Vector(_) => Filter::everything(),
        SimilarTo::Row(id) => Filter::from_where(Where::Not(Box::new(row(table, id)?))),
    };
    let rows = Ranked {
        table,
        projection: &options.projection,
        conditions: vec![("where", &options.filter), ("id", &others)],
        limit: options.limit,
    };
    rows.select(dialect, ranking)
}

/// Writes the vector of the row that `similar` was asked about: a query in parentheses, of one column.
///
/// # Errors
/// As [`similar`].
pub fn write_vector_of(
    sql: &mut SqlText<'_>,
    table: &Table,
    id: &Scalar,
    field: &str,
) -> Result<(), SqlError> {
    sql.syntax("(SELECT ").ident(field).syntax(" FROM ").name(&table.parts);
    let filter = Filter::from_where(row(table, id)?);
    Conditions { first: true, several: false }.filter(sql, &Base { table, alias: None }, &filter, "id")?;
    sql.syntax(")");
    Ok(())
}

/// The row with that key.
fn row(table: &Table, id: &Scalar) -> Result<Where, Invalid> {
    match primary_key(table)? {
        [key] => Ok(Where::field(key, Test::In(vec![id.clone()]))),
        _ => Err(Invalid::new("id", "a target with a primary key of one column")),
    }
}

/// Whether any of the columns contains `text`.
fn contained(fields: &[&str], text: &str) -> Where {
    let field = |name: &&str| Where::field(*name, Test::Text(TextMatch::Contains, text.to_owned()));
    Where::Any(fields.iter().map(field).collect())
}

/// Ranks by the share of conditions that hold.
struct Containment<'a> {
    base: Base<'a>,
    /// Holds for rows that have a score.
    any: Filter,
    parts: Vec<Filter>,
}

impl Ranking for Containment<'_> {
    fn write_condition(&self, sql: &mut SqlText<'_>) -> Result<(), SqlError> {
        write_filter(sql, &self.base, &self.any)
    }

    fn write_score(&self, sql: &mut SqlText<'_>) -> Result<(), SqlError> {
        let mut written = Ok(());
        let double = sql.dialect().aggregates.double;
        sql.syntax("(");
        sql.template(double, |sql, _| {
            sql.syntax("(").separated(" + ", &self.parts, |sql, part| {
                sql.syntax("CASE WHEN ");
                if let Err(error) = write_filter(sql, &self.base, part) {
                    written = Err(error);
                }
                sql.syntax(" THEN 1 ELSE 0 END");
            });
            sql.syntax(")");
        });
        sql.syntax(" / ").number(f64::from(u32::try_from(self.parts.len()).unwrap_or(u32::MAX))).syntax(")");
        written
    }
}

/// The rows of a table that are ranked, and what is shown of them.
struct Ranked<'a> {
    table: &'a Table,
    projection: &'a Projection,
    /// With the names that mistakes in them go by.
    conditions: Vec<(&'static str, &'a Filter)>,
    limit: u64,
}

impl Ranked<'_> {
    fn select(&self, dialect: &Dialect, ranking: &impl Ranking) -> Result<Select, SqlError> {
        let mut sql = SqlText::new(dialect);
        let twice = ranking.is_taken_by_order_alone();
        sql.syntax(if twice { "SELECT * FROM (SELECT " } else { "SELECT " });
        let (mut outputs, mut columns) = self.write_outputs(&mut sql)?;
        ranking.write_score(&mut sql)?;
        sql.syntax(" AS _score");
        outputs.push(SCORE.to_owned());
        columns.push(None);
        let hidden = if twice { self.write_hidden_key(&mut sql) } else { 0 };
        columns.extend(self.table.primary_key.iter().take(hidden).cloned().map(Some));
        sql.syntax(" FROM ").name(&self.table.parts).syntax(" ");
        BASE.write(&mut sql);
        ranking.write_join(&mut sql);
        let mut conditions = Conditions { first: true, several: true };
        conditions.begin(&mut sql);
        ranking.write_condition(&mut sql)?;
        conditions.end(&mut sql);
        for (field, filter) in &self.conditions {
            conditions.filter(&mut sql, &self.base(), filter, field)?;
        }
        sql.syntax(" ORDER BY ");
        ranking.write_order(&mut sql)?;
        for name in self.table.primary_key.iter().filter(|_| !twice) {
            sql.syntax(", ");
            own_column(&mut sql, name);
        }
        write_paging(&mut sql, Some(self.limit), 0, true);
        if twice {
            write_final_order(&mut sql, outputs.len(), hidden);
        }
        Ok(Select { sql: sql.finish()?, outputs, columns, hidden, ..Select::default() })
    }

    /// Writes the primary key behind what is shown, and says of how many columns it is.
    fn write_hidden_key(&self, sql: &mut SqlText<'_>) -> usize {
        for (number, name) in self.table.primary_key.iter().enumerate() {
            sql.syntax(", ");
            own_column(sql, name);
            sql.syntax(" AS ");
            Alias("k", Some(number)).write(sql);
        }
        self.table.primary_key.len()
    }

    fn base(&self) -> Base<'_> {
        Base { table: self.table, alias: Some(BASE) }
    }

    /// Writes the shown columns, each with a comma behind it, and gives the names under which they are shown, and their own.
    fn write_outputs(&self, sql: &mut SqlText<'_>) -> Result<(Vec<String>, Vec<Option<String>>), Invalid> {
        let visible = self.table.columns.iter().filter(|column| !column.hidden && column.name != SCORE);
        let pairs = self
            .projection
            .pairs()
            .unwrap_or_else(|| visible.map(|column| (column.name.as_str(), column.name.as_str())).collect());
        if pairs.is_empty() {
            return Err(Invalid::new("target", "a target whose columns are known"));
        }
        for (output, column) in &pairs {
            if *output == SCORE {
                return Err(Invalid::new("select", format!("no column called {SCORE}")));
            }
            let place = self.table.place(column, Some(BASE)).map_err(|error| error.within("select"))?;
            write_output(sql, output, &place);
            sql.syntax(", ");
        }
        Ok(pairs.into_iter().map(|(output, column)| (output.to_owned(), Some(column.to_owned()))).unzip())
    }
}

/// Orders the rows that were taken, by place: the score is the last column that is shown, the key stands behind it.
fn write_final_order(sql: &mut SqlText<'_>, score: usize, keys: usize) {
    let place = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    sql.syntax(") r ORDER BY ").whole(place(score)).syntax(" DESC");
    for key in 1..=keys {
        sql.syntax(", ").whole(place(score.saturating_add(key)));
    }
}
