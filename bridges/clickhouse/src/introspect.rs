//! What is in the database, from the `system` tables: they show a role what it may read.

use bridge_core::{BridgeError, ColumnSchema, TargetSchema};
use bridge_sql::{Column, Extent, Kind, Param, Sql, Table, Value, parse_target};
use protocol::Timestamp;

use crate::config::BinaryColumns;
use crate::error::UNKNOWN_TABLE;
use crate::execute::Access;
use crate::values::Type;

/// One row a column. Its own scalars are evaluated once.
const COLUMNS: &str = "\
SELECT name, type, is_in_primary_key, is_in_sorting_key, default_kind,
  (SELECT sorting_key FROM system.tables WHERE database = {p0:String} AND name = {p1:String} LIMIT 1)
FROM system.columns WHERE database = {p0:String} AND table = {p1:String} AND default_kind != 'EPHEMERAL'
ORDER BY position";

/// What `SHOW TABLES` shows, but for the tables in which views keep their rows.
const TABLES: &str = "\
SELECT name FROM system.tables
WHERE database = {p0:String} AND NOT is_temporary AND NOT startsWith(name, '.inner')";

/// A data-skipping index: its type and what it is over.
const INDICES: &str = "\
SELECT type_full, expr FROM system.data_skipping_indices WHERE database = {p0:String} AND table = {p1:String}";

/// A table or view.
#[derive(Debug)]
pub(crate) struct Relation {
    /// As the translator sees it. Its key is that by which rows are stored.
    pub(crate) table: Table,
    /// The columns of the primary key, which is the begin of that, or all of it.
    primary_key: Vec<String>,
    /// Database and table.
    parts: [String; 2],
}

impl AsRef<Table> for Relation {
    fn as_ref(&self) -> &Table {
        &self.table
    }
}

/// Tables and views of the source's database, sorted. Each is a target as it is: a name with a dot or a quote comes in
/// quotes.
pub(crate) async fn list(access: Access<'_>) -> Result<Vec<String>, BridgeError> {
    let rows = access.texts(&question(TABLES, &[access.database])).await?;
    let mut names: Vec<String> =
        rows.into_iter().filter_map(|mut row| Some(as_target(row.pop()??))).collect();
    names.sort_unstable();
    Ok(names)
}

/// The columns of a table as the catalog names their types.
pub(crate) fn describe(target: &str, relation: &Relation, row_count: u64) -> TargetSchema {
    let column = |column: &Column| ColumnSchema {
        name: column.name.clone(),
        kind: column.native.clone(),
        nullable: column.nullable,
        primary_key: relation.primary_key.contains(&column.name),
    };
    let columns = relation.table.columns.iter().map(column).collect();
    TargetSchema { name: target.to_owned(), columns, row_count }
}

/// The data-skipping indices of a table: type and expression.
pub(crate) async fn indices(
    access: Access<'_>,
    relation: &Relation,
) -> Result<Vec<(String, String)>, BridgeError> {
    let [database, table] = &relation.parts;
    let rows = access.texts(&question(INDICES, &[database, table])).await?;
    let pair = |row: Vec<Option<String>>| {
        let mut texts = row.into_iter().flatten();
        Some((texts.next()?, texts.next()?))
    };
    Ok(rows.into_iter().filter_map(pair).collect())
}

/// The table called `target`.
pub(crate) async fn look_up(access: Access<'_>, target: &str) -> Result<Relation, BridgeError> {
    let named = parse_target(access.dialects.plain(), target)?;
    let parts = match named.as_slice() {
        [name] => [access.database.to_owned(), name.clone()],
        [database, name] => [database.clone(), name.clone()],
        // The dialect has refused everything else.
        _ => return Err(BridgeError::Internal("a target of more than two parts".to_owned())),
    };
    let [database, name] = &parts;
    let rows = access.texts(&question(COLUMNS, &[database, name])).await?;
    let described: Vec<Described> = rows.into_iter().filter_map(Described::read).collect();
    if described.is_empty() {
        return Err(BridgeError::Query {
            message: format!("table \"{database}.{name}\" does not exist"),
            native: Some(UNKNOWN_TABLE.to_string()),
            source: None,
        });
    }
    Ok(relation(parts, described, access.binary))
}

fn relation(parts: [String; 2], described: Vec<Described>, binary: &BinaryColumns) -> Relation {
    let primary_key = described.iter().filter(|column| column.in_primary_key);
    let primary_key = primary_key.map(|column| column.name.clone()).collect();
    let sorting_key = sorting_key(&described);
    let [_, name] = &parts;
    let columns = described.into_iter().map(|column| {
        let is_binary = binary.has(name, &column.name) || binary.has(&parts.join("."), &column.name);
        column.into_column(is_binary)
    });
    let table = Table { columns: columns.collect(), primary_key: sorting_key, parts: parts.to_vec() };
    Relation { table, primary_key, parts }
}

/// The columns by which pages go: those with which the sorting key begins; where it begins with an expression, those of
/// its expressions. Rows that are level by them are told apart by all columns, so that any order is a right one, and
/// this is the one that the server has at hand.
fn sorting_key(described: &[Described]) -> Vec<String> {
    let key = described.first().map(|column| column.sorting_key.as_str()).unwrap_or_default();
    let mut columns: Vec<String> = Vec::new();
    for element in elements(key) {
        match described.iter().find(|column| is_name(element, &column.name)) {
            Some(column) if !columns.contains(&column.name) => columns.push(column.name.clone()),
            _ => break,
        }
    }
    if columns.is_empty() {
        let in_key = described.iter().filter(|column| column.in_sorting_key);
        columns = in_key.map(|column| column.name.clone()).collect();
    }
    columns
}

/// The elements of a list of expressions: it is split at commas outside of parentheses and quotes.
fn elements(list: &str) -> Vec<&str> {
    let (mut depth, mut quote, mut begin) = (0_usize, None, 0);
    let mut elements = Vec::new();
    let mut characters = list.char_indices();
    while let Some((at, character)) = characters.next() {
        match (quote, character) {
            (Some(_), '\\') => {
                characters.next();
            }
            (Some(open), close) if open == close => quote = None,
            (Some(_), _) => {}
            (None, '`' | '\'' | '"') => quote = Some(character),
            (None, '(' | '[') => depth += 1,
            (None, ')' | ']') => depth = depth.saturating_sub(1),
            (None, ',') if depth == 0 => {
                elements.push(list.get(begin..at).unwrap_or_default().trim());
                begin = at + 1;
            }
            (None, _) => {}
        }
    }
    elements.push(list.get(begin..).unwrap_or_default().trim());
    elements
}

/// Whether an expression is the column of that name and nothing else.
fn is_name(expression: &str, name: &str) -> bool {
    let quoted = || format!("`{}`", name.replace('\\', "\\\\").replace('`', "\\`"));
    expression == name || expression == quoted()
}

struct Described {
    name: String,
    kind: String,
    in_primary_key: bool,
    in_sorting_key: bool,
    default_kind: String,
    sorting_key: String,
}

impl Described {
    fn read(row: Vec<Option<String>>) -> Option<Self> {
        let mut texts = row.into_iter().map(Option::unwrap_or_default);
        Some(Self {
            name: texts.next()?,
            kind: texts.next()?,
            in_primary_key: texts.next()? == "1",
            in_sorting_key: texts.next()? == "1",
            default_kind: texts.next()?,
            sorting_key: texts.next()?,
        })
    }

    fn into_column(self, is_binary: bool) -> Column {
        let parsed = Type::parse(&self.kind);
        let kind = match (&parsed, is_binary) {
            (Some(kind), true) if matches!(kind.not_null(), Type::String | Type::FixedString(_)) => {
                Kind::Bytes
            }
            (Some(kind), _) => kind_of(kind.not_null()),
            (None, _) if self.kind.contains("JSON") => Kind::Json,
            (None, _) => Kind::Other,
        };
        let nullable = may_be_null(&self.kind, parsed.as_ref());
        Column {
            extent: parsed.as_ref().map(|kind| extent_of(kind.not_null())).unwrap_or_default(),
            labels: parsed.as_ref().map(Type::labels).unwrap_or_default(),
            // Not part of `SELECT *` either.
            hidden: matches!(self.default_kind.as_str(), "MATERIALIZED" | "ALIAS"),
            native: self.kind,
            ..Column::new(self.name, kind, nullable)
        }
    }
}

fn may_be_null(native: &str, parsed: Option<&Type>) -> bool {
    match parsed {
        Some(kind) => matches!(kind, Type::Nullable(_)),
        None => {
            ["Nullable(", "Variant(", "Dynamic", "Geometry"].iter().any(|begin| native.starts_with(begin))
        }
    }
}

/// The class of operands that fit. What has no class of its own is compared as text.
fn kind_of(kind: &Type) -> Kind {
    let integer = |bits, signed| Kind::Integer { bits, signed };
    match kind {
        Type::Int8 => integer(8, true),
        Type::Int16 => integer(16, true),
        Type::Int32 => integer(32, true),
        Type::Int64 => integer(64, true),
        Type::UInt8 => integer(8, false),
        Type::UInt16 => integer(16, false),
        Type::UInt32 => integer(32, false),
        Type::UInt64 => integer(64, false),
        Type::Int128
        | Type::Int256
        | Type::UInt128
        | Type::UInt256
        | Type::Decimal32(_)
        | Type::Decimal64(_)
        | Type::Decimal128(_)
        | Type::Decimal256(_) => Kind::Decimal,
        Type::Float32 | Type::BFloat16 => Kind::Float { bits: 32 },
        Type::Float64 => Kind::Float { bits: 64 },
        Type::Bool => Kind::Boolean,
        Type::String | Type::FixedString(_) => Kind::Text,
        Type::Bytes | Type::FixedBytes(_) => Kind::Bytes,
        Type::Uuid => Kind::Uuid,
        Type::Date | Type::Date32 => Kind::Date,
        Type::DateTime | Type::DateTime64(_) => Kind::TimestampTz,
        Type::Enum8(_) | Type::Enum16(_) => Kind::Enum,
        Type::Time
        | Type::Time64(_)
        | Type::Ipv4
        | Type::Ipv6
        | Type::Interval
        | Type::Nothing
        | Type::Nullable(_)
        | Type::Array(_)
        | Type::Tuple(_)
        | Type::Map(..) => Kind::Other,
    }
}

/// What operands may be beyond.
fn extent_of(kind: &Type) -> Extent {
    let digits = |all: u8, scale: u8| Extent::Digits {
        whole: u16::from(all.saturating_sub(scale)),
        scale: u16::from(scale),
    };
    let integers = |least, greatest| Extent::Integers { least, greatest };
    match kind {
        // As many digits as the bits hold: sums and products may have more than the type says.
        Type::Decimal32(scale) => digits(10, *scale),
        Type::Decimal64(scale) => digits(19, *scale),
        Type::Decimal128(scale) => digits(39, *scale),
        Type::Decimal256(scale) => digits(76, *scale),
        Type::Int128 => {
            integers("-170141183460469231731687303715884105728", "170141183460469231731687303715884105727")
        }
        Type::UInt128 => integers("0", "340282366920938463463374607431768211455"),
        Type::Int256 => integers(
            "-57896044618658097711785492504343953926634992332820282019728792003956564819968",
            "57896044618658097711785492504343953926634992332820282019728792003956564819967",
        ),
        Type::UInt256 => {
            integers("0", "115792089237316195423570985008687907853269984665640564039457584007913129639935")
        }
        Type::DateTime64(scale) => match scale.checked_sub(6) {
            Some(beyond @ 1..=3) => {
                let ticks = 10_i64.pow(u32::from(beyond));
                let at = Timestamp::from_micros;
                Extent::Instants { first: at(i64::MIN / ticks), last: at(i64::MAX / ticks) }
            }
            _ => Extent::OfItsKind,
        },
        Type::FixedString(bytes) => Extent::Padded { bytes: *bytes },
        _ => Extent::OfItsKind,
    }
}

fn as_target(name: String) -> String {
    if name.contains(['.', '"']) { format!("\"{}\"", name.replace('"', "\"\"")) } else { name }
}

/// A question of ours with texts as its parameters.
fn question(sql: &str, values: &[&str]) -> Sql {
    let params = values.iter().map(|value| Param::plain(Value::Text((*value).to_owned())));
    Sql { text: sql.to_owned(), params: params.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(name: &str, sorting_key: &str, in_sorting_key: bool) -> Described {
        Described {
            name: name.to_owned(),
            kind: "Int64".to_owned(),
            in_primary_key: false,
            in_sorting_key,
            default_kind: String::new(),
            sorting_key: sorting_key.to_owned(),
        }
    }

    #[test]
    fn pages_go_by_the_columns_with_which_the_key_begins() {
        let key = |text: &str| {
            let columns = ["a", "b`c", "d"].map(|name| described(name, text, name != "d"));
            sorting_key(&columns)
        };
        assert_eq!(key("a, `b\\`c`"), ["a", "b`c"]);
        assert_eq!(key("a, toDate(d), d"), ["a"]);
        assert_eq!(key("cityHash64(a, `b,c`), a"), ["a", "b`c"]);
        assert_eq!(key("`b\\`c`, a, d"), ["b`c", "a", "d"]);
    }

    #[test]
    fn a_list_is_split_where_its_elements_end() {
        assert_eq!(elements("a, f(b, 'x,y'), `c,d`"), ["a", "f(b, 'x,y')", "`c,d`"]);
        assert_eq!(elements(""), [""]);
    }

    #[test]
    fn a_name_that_a_target_cannot_say_plainly_is_quoted() {
        assert_eq!(as_target("orders".to_owned()), "orders");
        assert_eq!(as_target("a.\"b".to_owned()), "\"a.\"\"b\"");
    }
}
