//! `search` by tokens where an index of them exists, by containment elsewhere; `similar` by the distance of arrays.

use bridge_core::{BridgeError, Call, RowStream, answer_rows};
use bridge_sql::{
    Engine, Param, Ranking, Select, Sql, SqlError, SqlText, Statement, Table, Value, own_column,
    search_by_containment,
};
use protocol::{
    Filter, Invalid, Metric, Projection, QueryOptions, Scalar, SearchMethod, SearchOptions, SimilarOptions,
    SimilarTo, Tail, Test, Where,
};

use crate::Opened;
use crate::error::of_sql;
use crate::introspect::{Relation, indices};
use crate::values::Type;

/// Tokens of a query that count.
const MAX_TOKENS: usize = 16;
/// Indices that know which tokens a block of rows has.
const TOKEN_INDICES: [&str; 4] = ["tokenbf_v1", "text", "inverted", "full_text"];

/// Rows ranked by text.
pub(crate) async fn search(
    opened: &Opened,
    call: &Call,
    relation: &Relation,
    options: &SearchOptions,
) -> Result<RowStream, BridgeError> {
    let indexed = token_fields(&indices(opened.access(call), relation).await?, &relation.table);
    let (select, method) = plan_search(opened, relation, options, indexed).map_err(of_sql)?;
    opened.rows(call, (), relation, Statement { method: Some(method), ..select.into() }).await
}

/// Rows ranked by the distance of vectors.
pub(crate) async fn similar(
    opened: &Opened,
    call: &Call,
    relation: &Relation,
    options: &SimilarOptions,
) -> Result<RowStream, BridgeError> {
    is_vector(&relation.table, &options.field)?;
    let vector = match &options.to {
        SimilarTo::Vector(vector) => vector.clone(),
        SimilarTo::Row(id) => vector_of(opened, call, relation, id, &options.field).await?,
    };
    if vector.is_empty() {
        return Ok(answer_rows(Vec::new(), Tail::default()));
    }
    let indexed = indices(opened.access(call), relation).await?;
    let ranking = Distance {
        field: &options.field,
        metric: options.metric,
        by_index: has_vector_index(&indexed, options, vector.len()),
        vector,
    };
    let dialect = opened.dialects.plain();
    let select = bridge_sql::similar(dialect, &relation.table, options, &ranking).map_err(of_sql)?;
    opened.rows(call, (), relation, select.into()).await
}

/// A column with an index of its tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
struct TokenField {
    name: String,
    /// The index is over the lower case of the column.
    lower: bool,
}

fn token_fields(indices: &[(String, String)], table: &Table) -> Vec<TokenField> {
    let knows_tokens = |kind: &str| {
        let name = kind.split('(').next().unwrap_or_default();
        TOKEN_INDICES.contains(&name) && !kind.to_ascii_lowercase().contains("gram")
    };
    let field = |(_, expression): &(String, String)| {
        let inner = expression.strip_prefix("lower(").and_then(|rest| rest.strip_suffix(')'));
        let name = inner.unwrap_or(expression).trim_matches('`');
        table.column(name).map(|column| TokenField { name: column.name.clone(), lower: inner.is_some() })
    };
    indices.iter().filter(|(kind, _)| knows_tokens(kind)).filter_map(field).collect()
}

/// By tokens when every column that is asked for has an index of them; by default those that have one are asked for.
fn plan_search(
    opened: &Opened,
    relation: &Relation,
    options: &SearchOptions,
    indexed: Vec<TokenField>,
) -> Result<(Select, SearchMethod), SqlError> {
    let dialect = opened.dialects.plain();
    let fields: Option<Vec<TokenField>> = match &options.fields {
        None => Some(indexed).filter(|fields| !fields.is_empty()),
        Some(names) => {
            let of_name = |name: &String| indexed.iter().find(|field| field.name == *name).cloned();
            names.iter().map(of_name).collect()
        }
    };
    let tokens = tokens(&options.query);
    match fields {
        Some(fields) if !tokens.is_empty() => {
            let select = bridge_sql::search(dialect, &relation.table, options, &Tokens { fields, tokens })?;
            Ok((select, SearchMethod::FullText))
        }
        _ => Ok((search_by_containment(dialect, &relation.table, options)?, SearchMethod::Containment)),
    }
}

/// The query's distinct tokens, as the server splits text: at every character of ASCII that is no letter and no digit.
fn tokens(query: &str) -> Vec<String> {
    let separates = |character: char| character.is_ascii() && !character.is_ascii_alphanumeric();
    let mut tokens: Vec<String> = Vec::new();
    for token in query.split(separates).filter(|token| !token.is_empty()) {
        if tokens.len() < MAX_TOKENS && !tokens.iter().any(|other| other == token) {
            tokens.push(token.to_owned());
        }
    }
    tokens
}

/// Ranks by the share of the query's tokens that a row has.
struct Tokens {
    fields: Vec<TokenField>,
    tokens: Vec<String>,
}

impl Tokens {
    /// Whether any of the columns has the token.
    fn write_has(&self, sql: &mut SqlText<'_>, token: &str) {
        sql.syntax("(");
        for (index, field) in self.fields.iter().enumerate() {
            sql.syntax(if index > 0 { " OR hasToken(" } else { "hasToken(" });
            sql.syntax(if field.lower { "lower(" } else { "(" });
            own_column(sql, &field.name);
            let token = if field.lower { token.to_ascii_lowercase() } else { token.to_owned() };
            sql.syntax("), ").param(Param::plain(Value::Text(token))).syntax(")");
        }
        sql.syntax(")");
    }
}

impl Ranking for Tokens {
    fn write_condition(&self, sql: &mut SqlText<'_>) -> Result<(), SqlError> {
        for (index, token) in self.tokens.iter().enumerate() {
            sql.syntax(if index > 0 { " OR " } else { "" });
            self.write_has(sql, token);
        }
        Ok(())
    }

    fn write_score(&self, sql: &mut SqlText<'_>) -> Result<(), SqlError> {
        sql.syntax("(");
        for (index, token) in self.tokens.iter().enumerate() {
            sql.syntax(if index > 0 { " + " } else { "" });
            self.write_has(sql, token);
        }
        sql.syntax(") / ").whole(u64::try_from(self.tokens.len()).unwrap_or(u64::MAX));
        Ok(())
    }
}

/// Ranks by distance.
struct Distance<'a> {
    field: &'a str,
    metric: Metric,
    vector: Vec<f64>,
    by_index: bool,
}

impl Distance<'_> {
    fn write_distance(&self, sql: &mut SqlText<'_>) {
        sql.syntax(match self.metric {
            Metric::Cosine => "cosineDistance(",
            Metric::L2 => "L2Distance(",
            Metric::Dot => "dotProduct(",
        });
        own_column(sql, self.field);
        let numbers = self.vector.iter().map(|number| Value::Double(*number)).collect();
        sql.syntax(", ").param(Param::plain(Value::List(numbers))).syntax(")");
    }
}

impl Ranking for Distance<'_> {
    /// Vectors of another length have no distance, and those of nothing no angle. An index has neither.
    fn write_condition(&self, sql: &mut SqlText<'_>) -> Result<(), SqlError> {
        let is_zero = self.vector.iter().all(|number| *number == 0.0);
        if is_zero && self.metric == Metric::Cosine {
            sql.syntax("1=0");
            return Ok(());
        }
        if self.by_index {
            sql.syntax("1=1");
            return Ok(());
        }
        sql.syntax("length(");
        own_column(sql, self.field);
        sql.syntax(") = ").whole(u64::try_from(self.vector.len()).unwrap_or(u64::MAX));
        if self.metric == Metric::Cosine {
            sql.syntax(" AND arrayExists(x -> x != 0, ");
            own_column(sql, self.field);
            sql.syntax(")");
        }
        Ok(())
    }

    fn write_score(&self, sql: &mut SqlText<'_>) -> Result<(), SqlError> {
        sql.syntax(match self.metric {
            Metric::Cosine => "1 - ",
            Metric::L2 => "1 / (1 + ",
            Metric::Dot => "(",
        });
        self.write_distance(sql);
        sql.syntax(if self.metric == Metric::Cosine { "" } else { ")" });
        Ok(())
    }

    fn write_order(&self, sql: &mut SqlText<'_>) -> Result<(), SqlError> {
        self.write_distance(sql);
        sql.syntax(if self.metric == Metric::Dot { " DESC" } else { "" });
        Ok(())
    }

    fn is_taken_by_order_alone(&self) -> bool {
        self.by_index
    }
}

/// Whether an index finds what is near by this metric, and takes vectors of this length:
/// `vector_similarity('hnsw', 'L2Distance', 3)`.
fn has_vector_index(indices: &[(String, String)], options: &SimilarOptions, length: usize) -> bool {
    let metric = match options.metric {
        Metric::Cosine => "'cosineDistance'",
        Metric::L2 => "'L2Distance'",
        Metric::Dot => return false,
    };
    indices.iter().any(|(kind, expression)| {
        let mut arguments =
            kind.strip_prefix("vector_similarity(").into_iter().flat_map(|rest| rest.split(','));
        let is_metric = arguments.nth(1).is_some_and(|argument| argument.trim() == metric);
        let dimensions = arguments.next().map(|argument| argument.trim().trim_end_matches(')').parse());
        is_metric && dimensions == Some(Ok(length)) && expression.trim_matches('`') == options.field
    })
}

fn is_vector(table: &Table, field: &str) -> Result<(), Invalid> {
    let refused = || Invalid::new("field", "a column of arrays of Float32 or Float64");
    let column = table.column(field).ok_or_else(refused)?;
    match Type::parse(&column.native) {
        Some(Type::Array(element))
            if element.is_float() && element.not_null() == &*element && !column.native.contains("QBit(") =>
        {
            Ok(())
        }
        _ => Err(refused()),
    }
}

/// The vector of a row; empty when there is no such row.
async fn vector_of(
    opened: &Opened,
    call: &Call,
    relation: &Relation,
    id: &Scalar,
    field: &str,
) -> Result<Vec<f64>, BridgeError> {
    let [key] = relation.table.primary_key.as_slice() else {
        return Err(Invalid::new("id", "a target with a primary key of one column").into());
    };
    let options = QueryOptions {
        filter: Filter::from_where(Where::field(key.as_str(), Test::In(vec![id.clone()]))),
        projection: Projection::Columns(vec![field.to_owned()]),
        limit: Some(1),
        ..QueryOptions::default()
    };
    let sql: Sql = bridge_sql::query(opened.dialects.plain(), &relation.table, &options).map_err(of_sql)?.sql;
    let rows = opened.access(call).texts(&sql).await?;
    let text = rows.into_iter().flatten().flatten().next().unwrap_or_else(|| "[]".to_owned());
    serde_json::from_str(&text).map_err(|_| BridgeError::query("the row's vector holds what is not finite"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_split_as_the_server_splits_text() {
        assert_eq!(tokens("Red-shoe, red shoe_1 ünï!"), ["Red", "shoe", "red", "1", "ünï"]);
        assert!(tokens("%_'").is_empty());
    }

    #[test]
    fn only_indices_of_tokens_count() {
        let table = Table {
            columns: ["a", "b", "c", "d"]
                .map(|name| bridge_sql::Column::new(name, bridge_sql::Kind::Text, false))
                .to_vec(),
            ..Table::default()
        };
        let index = |kind: &str, expression: &str| (kind.to_owned(), expression.to_owned());
        let found = token_fields(
            &[
                index("tokenbf_v1(256, 2, 0)", "a"),
                index("text(tokenizer = splitByNonAlpha)", "lower(b)"),
                index("ngrambf_v1(3, 256, 2, 0)", "c"),
                index("minmax", "d"),
            ],
            &table,
        );
        let field = |name: &str, lower| TokenField { name: name.to_owned(), lower };
        assert_eq!(found, [field("a", false), field("b", true)]);
    }
}
