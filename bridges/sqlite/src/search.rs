//! `search`: by a full-text index of SQLite's own (FTS5) where a table has one, else by containment.
//!
//! Two kinds of tables have one: a full-text table itself, and a table whose texts another table indexes
//! (`CREATE VIRTUAL TABLE … USING fts5(…, content='orders')`). What a full-text table is made of stands in the statement
//! that created it, and nowhere else.

use bridge_sql::{Param, Ranking, Select, SqlError, SqlText, Value, own_column};
use protocol::{SearchMethod, SearchOptions};
use rusqlite::Connection;

use crate::error::Failure;
use crate::translate::{DIALECT, Relation};

/// A full-text index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FullText {
    /// The virtual table.
    name: String,
    /// Indexed columns.
    columns: Vec<String>,
    /// The table's column that tells its rows apart; nothing where the virtual table is the target itself.
    key: Option<String>,
}

/// The statement of a `search`, and how it finds rows.
pub(crate) fn search(
    connection: &Connection,
    relation: &Relation,
    options: &SearchOptions,
) -> Result<(Select, SearchMethod), Failure> {
    let indexes = match relation.full_text.get() {
        Some(indexes) => indexes,
        None => {
            let indexes = look_up(connection, relation)?;
            relation.full_text.get_or_init(|| indexes)
        }
    };
    let serves = |index: &&FullText| match &options.fields {
        Some(fields) => fields.iter().all(|field| index.columns.contains(field)),
        None => true,
    };
    match indexes.iter().find(serves) {
        Some(index) => {
            let select = bridge_sql::search(&DIALECT, &relation.table, options, &Matches { index, options })?;
            Ok((select, SearchMethod::FullText))
        }
        None => {
            let select = bridge_sql::search_by_containment(&DIALECT, &relation.table, options)?;
            Ok((select, SearchMethod::Containment))
        }
    }
}

/// The full-text indexes of a table, by name; of a full-text table itself alone.
fn look_up(connection: &Connection, relation: &Relation) -> Result<Vec<FullText>, Failure> {
    const VIRTUAL: &str = "SELECT name, sql FROM sqlite_schema \
        WHERE type = 'table' AND sql LIKE 'CREATE VIRTUAL TABLE%' ORDER BY name";
    let Some(target) = relation.table.parts.last() else { return Ok(Vec::new()) };
    let mut statement = connection.prepare_cached(VIRTUAL)?;
    let tables = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
    let mut indexes = Vec::new();
    for table in tables {
        let (name, sql) = table?;
        let Some(definition) = Definition::of(&sql) else { continue };
        let is_target = name.eq_ignore_ascii_case(target);
        let indexes_target =
            definition.content.as_deref().is_some_and(|content| content.eq_ignore_ascii_case(target));
        let key = definition.content_rowid.clone().or_else(|| relation.rowid.clone());
        match key {
            _ if is_target => return Ok(vec![FullText { name, columns: definition.columns, key: None }]),
            Some(key) if indexes_target => {
                indexes.push(FullText { name, columns: definition.columns, key: Some(key) });
            }
            _ => {}
        }
    }
    Ok(indexes)
}

/// What a statement that creates a full-text table says.
#[derive(Debug, PartialEq, Eq, Default)]
struct Definition {
    /// Those that are indexed.
    columns: Vec<String>,
    content: Option<String>,
    content_rowid: Option<String>,
}

impl Definition {
    /// Nothing for other virtual tables, and for an index that does not know where in a text its words are: it finds no
    /// phrases, and a word may be one to its tokenizer.
    fn of(sql: &str) -> Option<Self> {
        let using = position_of_word(sql, "using")?;
        let (module, arguments) = sql.get(using..)?.split_once('(')?;
        let module = module.get("using".len()..)?.trim();
        if !unquoted(module).eq_ignore_ascii_case("fts5") {
            return None;
        }
        let arguments = arguments.trim_end().trim_end_matches(';').trim_end().strip_suffix(')')?;
        let mut definition = Self::default();
        for argument in split_arguments(arguments) {
            definition.take(argument.trim())?;
        }
        Some(definition)
    }

    fn take(&mut self, argument: &str) -> Option<()> {
        let option =
            argument.split_once('=').map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim()));
        match option {
            Some((name, value)) if is_bare(&name) => match name.as_str() {
                "content" => self.content = Some(unquoted(value)),
                "content_rowid" => self.content_rowid = Some(unquoted(value)),
                "detail" if !unquoted(value).eq_ignore_ascii_case("full") => return None,
                _ => {}
            },
            _ => {
                let (name, rest) = first_name(argument);
                if !rest.trim().eq_ignore_ascii_case("unindexed") {
                    self.columns.push(name);
                }
            }
        }
        Some(())
    }
}

/// Where a word of SQL begins that is in no quotes.
fn position_of_word(sql: &str, word: &str) -> Option<usize> {
    let mut quote = None;
    let mut before = ' ';
    for (at, character) in sql.char_indices() {
        match quote {
            Some(end) if character == end => quote = None,
            Some(_) => {}
            None => {
                let here = sql.get(at..at + word.len()).is_some_and(|text| text.eq_ignore_ascii_case(word));
                if here && before.is_whitespace() {
                    return Some(at);
                }
                quote = end_of_quote(character);
            }
        }
        before = character;
    }
    None
}

/// At commas that are in no quotes.
fn split_arguments(text: &str) -> Vec<&str> {
    let mut arguments = Vec::new();
    let mut quote = None;
    let mut begin = 0;
    for (at, character) in text.char_indices() {
        match quote {
            Some(end) if character == end => quote = None,
            Some(_) => {}
            None if character == ',' => {
                arguments.extend(text.get(begin..at));
                begin = at + 1;
            }
            None => quote = end_of_quote(character),
        }
    }
    arguments.extend(text.get(begin..));
    arguments
}

/// The four kinds of quotes that SQLite knows.
fn end_of_quote(character: char) -> Option<char> {
    match character {
        '\'' | '"' | '`' => Some(character),
        '[' => Some(']'),
        _ => None,
    }
}

/// A name at the beginning, without its quotes, and what follows.
fn first_name(text: &str) -> (String, &str) {
    let Some(end) = text.chars().next().and_then(end_of_quote) else {
        let (name, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        return (name.to_owned(), rest);
    };
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        if character != end {
            continue;
        }
        if end != ']' && characters.next_if(|(_, next)| *next == end).is_some() {
            continue;
        }
        let (name, rest) = text.split_at(at + character.len_utf8());
        return (unquoted(name), rest);
    }
    (text.to_owned(), "")
}

fn unquoted(text: &str) -> String {
    let mut characters = text.chars();
    match characters.next().and_then(end_of_quote) {
        Some(end) if text.len() > 1 && characters.next_back() == Some(end) => {
            let inside = characters.as_str();
            if end == ']' {
                inside.to_owned()
            } else {
                inside.replace(&format!("{end}{end}"), &end.to_string())
            }
        }
        _ => text.to_owned(),
    }
}

fn is_bare(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Ranks by BM25.
struct Matches<'a> {
    index: &'a FullText,
    options: &'a SearchOptions,
}

impl Matches<'_> {
    /// Writes a column of the virtual table.
    fn write_column(&self, sql: &mut SqlText<'_>, write: impl FnOnce(&mut SqlText<'_>)) {
        sql.syntax(if self.index.key.is_some() { "f." } else { "t." });
        write(sql);
    }

    /// Any of the words, each in quotes: nothing in it can be an operator. A word that its tokenizer takes apart is a
    /// phrase.
    fn query(&self) -> String {
        let quoted = |word: &String| format!("\"{}\"", word.replace('"', "\"\""));
        let words: Vec<String> = self.options.words().iter().map(quoted).collect();
        let words = words.join(" OR ");
        match &self.options.fields {
            Some(fields) => {
                let fields: Vec<String> = fields.iter().map(quoted).collect();
                format!("{{{}}} : ({words})", fields.join(" "))
            }
            None => words,
        }
    }
}

impl Ranking for Matches<'_> {
    fn write_join(&self, sql: &mut SqlText<'_>) {
        if let Some(key) = &self.index.key {
            sql.syntax(" JOIN ").ident(&self.index.name).syntax(" f ON f.rowid = ");
            own_column(sql, key);
        }
    }

    /// The table's own name, as a column, stands for all of its columns.
    fn write_condition(&self, sql: &mut SqlText<'_>) -> Result<(), SqlError> {
        self.write_column(sql, |sql| {
            sql.ident(&self.index.name);
        });
        sql.syntax(" MATCH ").param(Param::plain(Value::Text(self.query())));
        Ok(())
    }

    /// The better a row, the smaller its rank: bm25, unless the index says otherwise.
    fn write_score(&self, sql: &mut SqlText<'_>) -> Result<(), SqlError> {
        sql.syntax("-");
        self.write_column(sql, |sql| {
            sql.syntax("rank");
        });
        Ok(())
    }

    /// A full-text table has no primary key that would decide between level rows.
    fn write_order(&self, sql: &mut SqlText<'_>) -> Result<(), SqlError> {
        sql.syntax(if self.index.key.is_some() { "_score DESC" } else { "_score DESC, t.rowid" });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(sql: &str) -> Option<(Vec<String>, Option<String>, Option<String>)> {
        Definition::of(sql).map(|read| (read.columns, read.content, read.content_rowid))
    }

    #[test]
    fn what_a_full_text_table_is_made_of_is_read_off_its_statement() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            definition("CREATE VIRTUAL TABLE d USING fts5(title, body)"),
            Some((names(&["title", "body"]), None, None))
        );
        assert_eq!(
            definition(
                "CREATE VIRTUAL TABLE IF NOT EXISTS \"a using b(\" using FTS5 (\"the \"\"title\"\"\", [b,c], d UNINDEXED,\n\
                 Content = 'it''s', content_rowid=\"id\", tokenize = 'unicode61 remove_diacritics 2', prefix='2 3') ;"
            ),
            Some((names(&["the \"title\"", "b,c"]), Some("it's".to_owned()), Some("id".to_owned())))
        );
        assert_eq!(
            definition("CREATE VIRTUAL TABLE d USING fts5(a, content='')").unwrap().1.as_deref(),
            Some("")
        );
    }

    #[test]
    fn other_virtual_tables_and_indexes_without_places_are_not_searched() {
        for sql in [
            "CREATE VIRTUAL TABLE d USING fts4(title)",
            "CREATE VIRTUAL TABLE d USING rtree(id, a, b)",
            "CREATE VIRTUAL TABLE d USING fts5(title, detail=none)",
            "CREATE VIRTUAL TABLE d USING fts5",
            "CREATE VIRTUAL TABLE d USING fts5(title",
            "",
        ] {
            assert_eq!(definition(sql), None, "{sql}");
        }
    }

    #[test]
    fn words_are_quoted_and_stay_words() {
        let raw = r#"{"query":"NEAR(a b) \"x\" -c","fields":["the \"title\""]}"#;
        let options =
            SearchOptions::parse(&serde_json::value::RawValue::from_string(raw.to_owned()).unwrap());
        let index = FullText { name: "f".to_owned(), columns: Vec::new(), key: None };
        let query = Matches { index: &index, options: &options.unwrap() }.query();
        assert_eq!(query, r#"{"the ""title"""} : ("near(a" OR "b)" OR """x""" OR "-c")"#);
    }
}
