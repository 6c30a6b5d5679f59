//! `search`: what of a table's catalog can rank by text, and the words that do.
//!
//! A full-text vector comes first, then trigrams; without either, rows are ranked by containment, which needs a scan.

use bridge_core::BridgeError;
use bridge_sql::{Param, Printed, Ranking, SqlError, SqlText, Value, own_column};
use protocol::SearchOptions;

use crate::connect::Lease;
use crate::execute::{Access, text};
use crate::introspect::question;
use crate::wire::RowView;

/// One row a column of full-text vectors, and one row a key of an index that is a full-text vector or made of trigrams:
/// which, the column where it is one, the expression where it is none (or makes the column), the columns that are read by
/// it (nothing where that cannot be told), and the schema of what compares.
///
/// Partial indexes hold some rows alone.
const INDEXES: &str = "\
WITH relation AS (
  SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname = $1 AND c.relname = $2
)
SELECT 'vector', a.attname, pg_catalog.pg_get_expr(d.adbin, d.adrelid),
       (SELECT pg_catalog.json_agg(DISTINCT o.attname) FROM pg_catalog.pg_depend p
        JOIN pg_catalog.pg_attribute o ON o.attrelid = p.refobjid AND o.attnum = p.refobjsubid
        WHERE p.refclassid = 'pg_catalog.pg_class'::regclass AND p.refobjid = a.attrelid
        AND p.refobjsubid NOT IN (0, a.attnum)
        AND (p.classid = 'pg_catalog.pg_attrdef'::regclass AND p.objid = d.oid
             OR p.classid = 'pg_catalog.pg_class'::regclass AND p.objid = a.attrelid AND p.objsubid = a.attnum)),
       'pg_catalog', a.attnum::int, a.attname
FROM relation
JOIN pg_catalog.pg_attribute a ON a.attrelid = relation.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum AND a.attgenerated <> ''
WHERE a.atttypid = 'pg_catalog.tsvector'::regtype
UNION ALL
SELECT CASE WHEN o.opcname LIKE '%trgm_ops' THEN 'trigram' ELSE 'vector' END, a.attname,
       CASE WHEN a.attname IS NULL THEN pg_catalog.pg_get_indexdef(i.indexrelid, k.n, false) END,
       CASE WHEN a.attname IS NOT NULL THEN pg_catalog.json_build_array(a.attname)
            WHEN i.indnatts = 1 THEN
              (SELECT pg_catalog.json_agg(DISTINCT b.attname) FROM pg_catalog.pg_depend p
               JOIN pg_catalog.pg_attribute b ON b.attrelid = p.refobjid AND b.attnum = p.refobjsubid
               WHERE p.classid = 'pg_catalog.pg_class'::regclass AND p.objid = i.indexrelid
               AND p.refclassid = 'pg_catalog.pg_class'::regclass AND p.refobjid = i.indrelid
               AND p.refobjsubid > 0) END,
       s.nspname, 10000, c.relname
FROM relation
JOIN pg_catalog.pg_index i ON i.indrelid = relation.oid AND i.indisvalid AND i.indpred IS NULL
JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_am m ON m.oid = c.relam AND m.amname IN ('gin', 'gist')
CROSS JOIN LATERAL pg_catalog.generate_series(1, i.indnkeyatts::int) k(n)
JOIN pg_catalog.pg_opclass o ON o.oid = i.indclass[k.n - 1]
JOIN pg_catalog.pg_namespace s ON s.oid = o.opcnamespace
LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[k.n - 1] AND a.attnum > 0
WHERE o.opcname IN ('gin_trgm_ops', 'gist_trgm_ops') OR o.opcname = 'tsvector_ops' AND a.attname IS NULL
ORDER BY 6, 7";

/// What a table has that ranks by text.
#[derive(Debug, Default)]
pub(crate) struct TextIndexes {
    /// Columns first.
    vectors: Vec<TextVector>,
    trigrams: Vec<Trigrams>,
}

/// A full-text vector: a column, or what an index holds.
#[derive(Debug, PartialEq)]
pub(crate) struct TextVector {
    at: Source,
    /// As the server says it; nothing: the session's default.
    configuration: Option<String>,
    /// The columns that are in it, sorted; nothing where that is not known.
    covers: Option<Vec<String>>,
}

/// An index of the trigrams of one column.
#[derive(Debug, PartialEq)]
pub(crate) struct Trigrams {
    at: Source,
    column: String,
    /// Of the extension.
    schema: String,
}

/// Where a value is.
#[derive(Debug, PartialEq)]
enum Source {
    Column(String),
    /// An index is used only for the very expression that it was made of, so that stands in the statement as the server
    /// prints it. It is an expression that is already part of the table; like a view's, its functions run with the rights
    /// of our role alone, in a session that only reads.
    Expression(Printed),
}

/// How one search is done.
#[derive(Debug, PartialEq)]
pub(crate) enum Way<'a> {
    FullText(&'a TextVector),
    /// Over each of these.
    Trigrams(Vec<&'a Trigrams>),
    Containment,
}

impl TextIndexes {
    /// Asks the catalog about the table of that schema and name.
    pub(crate) async fn look_up(
        access: Access<'_>,
        lease: Lease,
        [schema, name]: [&str; 2],
    ) -> Result<(Self, Lease), BridgeError> {
        let mut indexes = Self::default();
        let sql = question(INDEXES, &[schema, name]);
        let lease = access
            .each_row(lease, &sql, |row| {
                // A row that cannot be read is one way less to search.
                indexes.take(row);
            })
            .await?;
        Ok((indexes, lease))
    }

    fn take(&mut self, row: RowView<'_>) -> Option<()> {
        let column = text(row, 1).map(str::to_owned);
        let expression = text(row, 2);
        let covers: Option<Vec<String>> = text(row, 3).and_then(|names| serde_json::from_str(names).ok());
        let printed = || expression.map(|text| Source::Expression(Printed::by_server(text)));
        let at = column.map(Source::Column).or_else(printed)?;
        match text(row, 0)? {
            "vector" => {
                let covers = covers.map(|mut names| {
                    names.sort();
                    names
                });
                let configuration = expression.and_then(configuration);
                self.vectors.push(TextVector { at, configuration, covers });
            }
            _ => {
                let [column] = <[String; 1]>::try_from(covers?).ok()?;
                self.trigrams.push(Trigrams { at, column, schema: text(row, 4)?.to_owned() });
            }
        }
        Some(())
    }

    /// The best way to search. A full-text vector serves a search of the columns that are in it, neither more nor fewer,
    /// and one that names the vector's own column.
    pub(crate) fn way(&self, fields: Option<&[String]>) -> Way<'_> {
        let Some(fields) = fields else {
            let trigrams = || Some(Way::Trigrams(self.every_column())).filter(|_| !self.trigrams.is_empty());
            return self.vectors.first().map(Way::FullText).or_else(trigrams).unwrap_or(Way::Containment);
        };
        let mut asked = fields.to_vec();
        asked.sort();
        asked.dedup();
        let serves = |vector: &&TextVector| match (&vector.at, asked.as_slice()) {
            (Source::Column(own), [only]) if own == only => true,
            _ => vector.covers.as_ref() == Some(&asked),
        };
        if let Some(vector) = self.vectors.iter().find(serves) {
            return Way::FullText(vector);
        }
        let trigrams = asked.iter().map(|field| self.trigrams.iter().find(|of| of.column == *field));
        trigrams.collect::<Option<_>>().map_or(Way::Containment, Way::Trigrams)
    }

    /// The first of each column's.
    fn every_column(&self) -> Vec<&Trigrams> {
        let mut first: Vec<&Trigrams> = Vec::new();
        for trigrams in &self.trigrams {
            if !first.iter().any(|other| other.column == trigrams.column) {
                first.push(trigrams);
            }
        }
        first
    }
}

/// Ranks by a full-text vector.
pub(crate) struct FullText<'a> {
    pub(crate) vector: &'a TextVector,
    pub(crate) options: &'a SearchOptions,
}

impl FullText<'_> {
    fn write_query(&self, sql: &mut SqlText<'_>) {
        sql.syntax("pg_catalog.websearch_to_tsquery(");
        if let Some(configuration) = &self.vector.configuration {
            sql.syntax("CAST(").param(Param::plain(Value::Text(configuration.clone())));
            sql.syntax(" AS regconfig), ");
        }
        sql.param(Param::plain(Value::Text(self.options.query.clone()))).syntax(")");
    }
}

impl Ranking for FullText<'_> {
    fn write_condition(&self, sql: &mut SqlText<'_>) -> Result<(), SqlError> {
        self.vector.at.write(sql);
        sql.syntax(" @@ ");
        self.write_query(sql);
        Ok(())
    }

    fn write_score(&self, sql: &mut SqlText<'_>) -> Result<(), SqlError> {
        sql.syntax("pg_catalog.ts_rank_cd(");
        self.vector.at.write(sql);
        sql.syntax(", ");
        self.write_query(sql);
        sql.syntax(")");
        Ok(())
    }
}

/// Ranks by how alike the query and the most alike part of the text are.
pub(crate) struct ByTrigrams<'a> {
    pub(crate) columns: Vec<&'a Trigrams>,
    pub(crate) options: &'a SearchOptions,
}

impl ByTrigrams<'_> {
    fn query(&self) -> Param {
        Param::plain(Value::Text(self.options.phrase()))
    }
}

impl Ranking for ByTrigrams<'_> {
    fn write_condition(&self, sql: &mut SqlText<'_>) -> Result<(), SqlError> {
        for (index, column) in self.columns.iter().enumerate() {
            sql.syntax(if index > 0 { " OR " } else { "" }).param(self.query());
            sql.syntax(" OPERATOR(").ident(&column.schema).syntax(".<%) ");
            column.at.write(sql);
        }
        Ok(())
    }

    fn write_score(&self, sql: &mut SqlText<'_>) -> Result<(), SqlError> {
        sql.syntax("greatest(");
        for (index, column) in self.columns.iter().enumerate() {
            sql.syntax(if index > 0 { ", " } else { "" });
            sql.ident(&column.schema).syntax(".word_similarity(").param(self.query()).syntax(", ");
            column.at.write(sql);
            sql.syntax(")");
        }
        sql.syntax(")");
        Ok(())
    }
}

impl Source {
    fn write(&self, sql: &mut SqlText<'_>) {
        match self {
            Self::Column(name) => own_column(sql, name),
            Self::Expression(printed) => {
                sql.printed(printed);
            }
        }
    }
}

/// The configuration of the first `to_tsvector('english'::regconfig, …)` in an expression. One that is a column or made
/// by a function differs from row to row, or cannot be told.
fn configuration(expression: &str) -> Option<String> {
    let (_, arguments) = expression.split_once("to_tsvector(")?;
    let mut characters = arguments.strip_prefix('\'')?.char_indices();
    let literal = arguments.get(1..)?;
    let mut name = String::new();
    while let Some((at, character)) = characters.next() {
        match character {
            '\'' if literal.get(at + 1..)?.starts_with('\'') => {
                characters.next();
                name.push('\'');
            }
            '\'' => return literal.get(at + 1..)?.starts_with("::regconfig").then_some(name),
            other => name.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(at: Source, covers: Option<&[&str]>) -> TextVector {
        let covers = covers.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
        TextVector { at, configuration: None, covers }
    }

    fn trigrams(column: &str) -> Trigrams {
        let at = Source::Column(column.to_owned());
        Trigrams { at, column: column.to_owned(), schema: "public".to_owned() }
    }

    fn fields(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_configuration_is_read_off_the_servers_words() {
        let of = |text| configuration(text);
        assert_eq!(of("to_tsvector('english'::regconfig, title)").as_deref(), Some("english"));
        assert_eq!(
            of(r#"setweight(to_tsvector('my."o''dd"'::regconfig, a), 'A'::"char")"#).as_deref(),
            Some(r#"my."o'dd""#)
        );
        assert_eq!(of("to_tsvector(language, title)"), None);
        assert_eq!(of("to_tsvector('english'::text, title)"), None);
        assert_eq!(of("to_tsvector('english"), None);
        assert_eq!(of("words_of(title)"), None);
    }

    #[test]
    fn a_vector_serves_the_columns_that_are_in_it_and_no_others() {
        let expression = || Source::Expression(Printed::by_server("to_tsvector('simple'::regconfig, b)"));
        let indexes = TextIndexes {
            vectors: vec![
                vector(Source::Column("words".to_owned()), Some(&["a", "b"])),
                vector(expression(), Some(&["b"])),
            ],
            trigrams: vec![trigrams("c"), trigrams("d"), trigrams("c")],
        };
        let [column, index] = indexes.vectors.as_slice() else { panic!("two vectors") };
        assert_eq!(indexes.way(None), Way::FullText(column));
        assert_eq!(indexes.way(Some(&fields(&["words"]))), Way::FullText(column));
        assert_eq!(indexes.way(Some(&fields(&["b", "a", "b"]))), Way::FullText(column));
        assert_eq!(indexes.way(Some(&fields(&["b"]))), Way::FullText(index));
        assert_eq!(indexes.way(Some(&fields(&["a"]))), Way::Containment);
        assert_eq!(indexes.way(Some(&fields(&["d"]))), Way::Trigrams(vec![&trigrams("d")]));
        assert_eq!(indexes.way(Some(&fields(&["c", "a"]))), Way::Containment);
    }

    #[test]
    fn without_a_vector_every_column_with_trigrams_is_searched_once() {
        let indexes =
            TextIndexes { vectors: Vec::new(), trigrams: vec![trigrams("c"), trigrams("d"), trigrams("c")] };
        assert_eq!(indexes.way(None), Way::Trigrams(vec![&trigrams("c"), &trigrams("d")]));
        assert_eq!(TextIndexes::default().way(None), Way::Containment);
    }
}
