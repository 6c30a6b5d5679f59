//! `search`: by a FULLTEXT index where one covers what is asked for, otherwise by containment.

use bridge_sql::{
    Kind, Param, Ranking, Select, SqlError, SqlText, Table, Value, own_column, search, search_by_containment,
    search_fields,
};
use protocol::{SearchMethod, SearchOptions};

use crate::flavor::Flavor;

/// A FULLTEXT index: its columns. `MATCH` takes exactly those.
pub(crate) type FullText = Vec<String>;

/// The statement, and how it finds its rows.
pub(crate) fn plan(
    flavor: &Flavor,
    table: &Table,
    indexes: &[FullText],
    options: &SearchOptions,
) -> Result<(Select, SearchMethod), SqlError> {
    match covering(table, indexes, options)? {
        // An index has no words with characters that its columns cannot have, and may refuse to be asked for them.
        Some(columns) if columns.iter().all(|name| may_hold(table, name, &options.query)) => {
            let ranking = Match { columns, query: &options.query };
            Ok((search(&flavor.dialect, table, options, &ranking)?, SearchMethod::FullText))
        }
        _ => Ok((search_by_containment(&flavor.dialect, table, options)?, SearchMethod::Containment)),
    }
}

/// The index over just the fields that were named, or the first one where none were.
fn covering<'a>(
    table: &Table,
    indexes: &'a [FullText],
    options: &SearchOptions,
) -> Result<Option<&'a [String]>, SqlError> {
    if options.fields.is_none() {
        return Ok(indexes.first().map(Vec::as_slice));
    }
    let mut fields = search_fields(table, options)?;
    fields.sort_unstable();
    fields.dedup();
    let covers = |index: &&FullText| {
        index.len() == fields.len() && index.iter().all(|column| fields.contains(&column.as_str()))
    };
    Ok(indexes.iter().find(covers).map(Vec::as_slice))
}

fn may_hold(table: &Table, column: &str, text: &str) -> bool {
    table.column(column).is_none_or(|column| column.repertoire.has(text))
}

struct Match<'a> {
    columns: &'a [String],
    query: &'a str,
}

impl Match<'_> {
    fn write(&self, sql: &mut SqlText<'_>) {
        sql.syntax("MATCH (");
        for (index, column) in self.columns.iter().enumerate() {
            sql.syntax(if index > 0 { ", " } else { "" });
            own_column(sql, column);
        }
        sql.syntax(") AGAINST (");
        sql.param(Param { value: Value::Text(self.query.to_owned()), kind: Some(Kind::Text) });
        sql.syntax(" IN NATURAL LANGUAGE MODE)");
    }
}

impl Ranking for Match<'_> {
    fn write_condition(&self, sql: &mut SqlText<'_>) -> Result<(), SqlError> {
        self.write(sql);
        Ok(())
    }

    fn write_score(&self, sql: &mut SqlText<'_>) -> Result<(), SqlError> {
        self.write(sql);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bridge_sql::Column;
    use serde_json::value::to_raw_value;

    use super::*;
    use crate::flavor::MYSQL_FLAVOR;

    fn planned(options: &serde_json::Value, indexes: &[&[&str]]) -> (String, SearchMethod) {
        let text = |name: &str| Column::new(name, Kind::Text, true);
        let table = Table {
            parts: vec!["t".to_owned()],
            columns: vec![text("a"), text("b")],
            primary_key: vec!["a".to_owned()],
        };
        let indexes: Vec<FullText> =
            indexes.iter().map(|columns| columns.iter().map(|name| (*name).to_owned()).collect()).collect();
        let options = SearchOptions::parse(&to_raw_value(options).unwrap()).unwrap();
        let (select, method) = plan(&MYSQL_FLAVOR, &table, &indexes, &options).unwrap();
        (select.sql.text, method)
    }

    #[test]
    fn an_index_over_the_named_fields_is_used_and_another_one_is_not() {
        let asked = serde_json::json!({ "query": "crab", "fields": ["b", "a"] });
        let (sql, method) = planned(&asked, &[&["a"], &["a", "b"]]);
        assert_eq!(method, SearchMethod::FullText);
        assert!(sql.contains("MATCH (t.`a`, t.`b`) AGAINST (? IN NATURAL LANGUAGE MODE)"), "{sql}");
        assert_eq!(planned(&asked, &[&["a"]]).1, SearchMethod::Containment);
        assert_eq!(planned(&serde_json::json!({ "query": "crab" }), &[&["a"]]).1, SearchMethod::FullText);
    }
}
