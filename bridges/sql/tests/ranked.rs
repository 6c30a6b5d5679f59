//! What statements that rank rows look like.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use protocol::{SearchOptions, SimilarOptions, SimilarTo};
use semilayer_bridge_sql::{
    Column, Kind, MYSQL, POSTGRES, Printed, Ranking, SqlError, SqlText, Table, own_column, write_vector_of,
};
use serde_json::value::RawValue;
use serde_json::{Value, json};

fn shoes() -> Table {
    let text = |name: &str| Column::new(name, Kind::Text, true);
    let id = Column::new("id", Kind::Integer { bits: 64, signed: true }, false);
    Table {
        parts: vec!["public".into(), "shoes".into()],
        columns: vec![id, text("name"), text("info"), Column::new("embedding", Kind::Other, true)],
        primary_key: vec!["id".into()],
    }
}

fn search_options(options: Value) -> SearchOptions {
    SearchOptions::parse(&RawValue::from_string(options.to_string()).unwrap()).unwrap()
}

#[test]
fn containment_asks_for_any_word_and_scores_the_share_of_them() {
    let options =
        search_options(json!({"query": "red 50%", "fields": ["name"], "select": ["id"], "limit": 3}));
    let select = semilayer_bridge_sql::search_by_containment(&POSTGRES, &shoes(), &options).unwrap();
    assert_eq!(
        select.sql.text,
        r#"SELECT t."id", (CAST((CASE WHEN ((t."name" ILIKE $1 ESCAPE '!')) THEN 1 ELSE 0 END + CASE WHEN ((t."name" ILIKE $2 ESCAPE '!')) THEN 1 ELSE 0 END + CASE WHEN ((t."name" ILIKE $3 ESCAPE '!')) THEN 1 ELSE 0 END) AS double precision) / 3e0) AS _score FROM "public"."shoes" t WHERE ((((t."name" ILIKE $4 ESCAPE '!')) OR ((t."name" ILIKE $5 ESCAPE '!')))) ORDER BY _score DESC, t."id" LIMIT $6"#
    );
    assert_eq!(select.outputs, ["id", "_score"]);
    let params: Vec<String> = select.sql.params.iter().map(|param| format!("{:?}", param.value)).collect();
    assert_eq!(params[..2], [r#"Text("%red%")"#, r#"Text("%50!%%")"#]);
}

#[test]
fn every_column_of_text_is_searched_where_none_is_named() {
    let options = search_options(json!({"query": "red", "where": {"id": {"$gt": 5}}}));
    let select = semilayer_bridge_sql::search_by_containment(&MYSQL, &shoes(), &options).unwrap();
    let condition = "WHERE ((((LOWER(t.`name`) LIKE LOWER(?) ESCAPE '!') OR (LOWER(t.`info`) LIKE LOWER(?) ESCAPE '!')))) AND (t.`id` > ?) ORDER BY _score DESC, t.`id` LIMIT ?";
    assert!(select.sql.text.ends_with(condition), "{}", select.sql.text);
    assert_eq!(select.outputs, ["id", "name", "info", "embedding", "_score"]);
}

#[test]
fn what_cannot_be_searched_is_refused_by_name() {
    let refusal = |options: Value| {
        semilayer_bridge_sql::search_by_containment(&POSTGRES, &shoes(), &search_options(options))
            .unwrap_err()
            .to_string()
    };
    let column_of_text = "expected a column of text of public.shoes";
    assert_eq!(
        refusal(json!({"query": "a", "fields": ["name", "id"]})),
        format!("fields[1]: {column_of_text}")
    );
    assert_eq!(refusal(json!({"query": "a", "fields": ["nope"]})), format!("fields[0]: {column_of_text}"));
    assert_eq!(
        refusal(json!({"query": "a", "project": {"_score": "id"}})),
        "select: expected no column called _score"
    );
    assert_eq!(
        refusal(json!({"query": "a", "select": ["nope"]})),
        "select.nope: expected a column of public.shoes"
    );
}

struct Nearest<'a> {
    table: &'a Table,
    options: &'a SimilarOptions,
}

impl Ranking for Nearest<'_> {
    fn write_condition(&self, sql: &mut SqlText<'_>) -> Result<(), SqlError> {
        own_column(sql, &self.options.field);
        sql.syntax(" IS NOT NULL");
        Ok(())
    }

    fn write_score(&self, sql: &mut SqlText<'_>) -> Result<(), SqlError> {
        own_column(sql, &self.options.field);
        sql.syntax(" <#> ");
        match &self.options.to {
            SimilarTo::Row(id) => write_vector_of(sql, self.table, id, &self.options.field),
            SimilarTo::Vector(_) => Ok(()),
        }
    }
}

#[test]
fn the_row_that_others_are_compared_with_is_left_out() {
    let table = shoes();
    let raw = r#"{"id": "7", "field": "embedding", "select": ["name"], "limit": 2}"#;
    let options = SimilarOptions::parse(&RawValue::from_string(raw.to_owned()).unwrap()).unwrap();
    let select = semilayer_bridge_sql::similar(
        &POSTGRES,
        &table,
        &options,
        &Nearest { table: &table, options: &options },
    )
    .unwrap();
    assert_eq!(
        select.sql.text,
        r#"SELECT t."name", t."embedding" <#> (SELECT "embedding" FROM "public"."shoes" WHERE "id" = ANY($1)) AS _score FROM "public"."shoes" t WHERE (t."embedding" IS NOT NULL) AND (NOT (t."id" = ANY($2))) ORDER BY _score DESC, t."id" LIMIT $3"#
    );
}

struct ByOrderAlone;

impl Ranking for ByOrderAlone {
    fn write_condition(&self, sql: &mut SqlText<'_>) -> Result<(), SqlError> {
        own_column(sql, "embedding");
        sql.syntax(" IS NOT NULL");
        Ok(())
    }

    fn write_score(&self, sql: &mut SqlText<'_>) -> Result<(), SqlError> {
        sql.syntax("-").printed(&Printed::by_server("a <-> b"));
        Ok(())
    }

    fn write_order(&self, sql: &mut SqlText<'_>) -> Result<(), SqlError> {
        sql.printed(&Printed::by_server("a <-> b"));
        Ok(())
    }

    fn is_taken_by_order_alone(&self) -> bool {
        true
    }
}

#[test]
fn rows_that_an_index_orders_are_put_into_the_order_of_the_key_afterwards() {
    let raw = r#"{"vector": [1], "field": "embedding", "select": ["name"], "limit": 2}"#;
    let options = SimilarOptions::parse(&RawValue::from_string(raw.to_owned()).unwrap()).unwrap();
    let select = semilayer_bridge_sql::similar(&POSTGRES, &shoes(), &options, &ByOrderAlone).unwrap();
    assert_eq!(
        select.sql.text,
        r#"SELECT * FROM (SELECT t."name", -(a <-> b) AS _score, t."id" AS k0 FROM "public"."shoes" t WHERE (t."embedding" IS NOT NULL) ORDER BY (a <-> b) LIMIT $1) r ORDER BY 2 DESC, 3"#
    );
    assert_eq!((select.outputs, select.hidden), (vec!["name".to_owned(), "_score".to_owned()], 1));
    assert_eq!(select.columns, [Some("name".to_owned()), None, Some("id".to_owned())]);
}
