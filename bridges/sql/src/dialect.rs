//! What differs between the SQL databases, as data and a few functions.
//!
//! Templates are text of ours with holes `#1` to `#9`; what goes into a hole is written by the three verbs of
//! [`SqlText`](crate::SqlText). One file a family of engines holds the values: see the modules below.

mod clickhouse;
mod mysql;
mod others;
mod postgres;
mod sqlite;

use protocol::CalendarUnit;

pub use self::clickhouse::CLICKHOUSE;
pub use self::mysql::{MARIADB, MYSQL};
pub use self::others::{BIGQUERY, DUCKDB, MSSQL, ORACLE, SNOWFLAKE};
pub use self::postgres::{COCKROACHDB, POSTGRES};
pub use self::sqlite::{LIBSQL, SQLITE};

use crate::{Column, Kind, Param, PatternSyntax, SqlError, Value};

/// A dialect of SQL. A bridge may adjust one: `Dialect { geohash: None, ..POSTGRES }`.
#[derive(Debug, Clone, Copy)]
pub struct Dialect {
    /// For messages.
    pub name: &'static str,
    /// Parts that a qualified name may have.
    pub max_parts: usize,
    /// Parameters that a statement may have.
    pub max_params: usize,
    /// What statements call the table that they are about. A column of that name may not hide it.
    pub base: &'static str,
    /// Appends a quoted identifier.
    pub quote: fn(&mut String, &str),
    /// Appends the placeholder of a slot (from 1) for a parameter.
    pub placeholder: fn(&mut String, usize, &Param),
    /// Booleans are 0 and 1, and numbers fit where booleans do.
    pub booleans_are_integers: bool,
    /// Dates and times are text (or numbers) that only functions understand, so operands stay as they came.
    pub dates_are_text: bool,
    /// Text may hold the character NUL.
    pub nul_in_text: bool,
    /// Numbers and dates may be infinite or not a number; rows show these as null, cursors as the engine's own word.
    pub infinities: bool,
    /// How `$in` and `$nin` are said.
    pub membership: Membership,
    /// `(a, b) > (x, y)` exists and uses an index.
    pub row_comparison: bool,
    /// Where nulls sort.
    pub nulls: Nulls,
    /// How rows are counted off.
    pub paging: Paging,
    /// The engine's text of `#1`.
    pub text_cast: &'static str,
    /// The same for types, named as in [`Column::native`](crate::Column::native), whose text in rows is another one.
    pub text_casts: &'static [(&'static str, &'static str)],
    /// The text of `#1`, bytes: base64, as rows have it. Nothing: the engine has no words for that.
    pub bytes_cast: Option<&'static str>,
    /// A literal of `#1` that tells its type, where columns may hold values of any type.
    pub literal: Option<&'static str>,
    /// Pattern matching that tells case apart.
    pub matching_case: Matching,
    /// Pattern matching that does not.
    pub matching_any_case: Matching,
    /// Whether being equal to one of an enumeration's labels is asked twice: of the column, which uses an index on it but
    /// may take a text that is no label for one, and of its text, which decides.
    pub narrows_enums: bool,
    /// Whether no two rows have the same primary key. Where they may, pages count the rows of a key that they break, and
    /// joins take one row.
    pub unique_keys: bool,
    /// What ranges compare instead of `#1`, a UUID, where the engine's order of them is not that of their text.
    pub uuid_order: Option<&'static str>,
    /// What pages go by instead of `#1`, a binary number: null for what is not finite.
    pub finite: Option<&'static str>,
    /// How a row shows `#1`, a column, where its value as it is will not do.
    pub shown: fn(&Column) -> Option<&'static str>,
    /// How rows that are level are ordered by `#1`, a column whose values have no order.
    pub tie: fn(&Column) -> Option<&'static str>,
    /// The value of a column that only a cursor can say, because it has more digits than an operand keeps.
    pub cursor_value: fn(&Column, &str) -> Option<Value>,
    /// Words of aggregates.
    pub aggregates: Aggregates,
}

/// How `$in` and `$nin` are said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Membership {
    /// `= ANY($1)` and `<> ALL($1)` over one array.
    Array,
    /// `IN (?, ?)` with at most so many in one list.
    List {
        /// Values in one list.
        max: usize,
    },
    /// `IN $1` over one array, or over several where it is long.
    InArray {
        /// Up to so many values are compared one by one, where elements of an array become values of another type.
        few: usize,
        /// Above that: whether the array `#2` has the value `#1`, which is null where the value is.
        has: &'static str,
    },
    /// A list below `from` values; from there on `IN (template)` over one parameter, the values as JSON text.
    JsonText {
        /// Values.
        from: usize,
        /// A query that unfolds the JSON text `#1`.
        template: &'static str,
    },
}

/// Where nulls sort by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nulls {
    /// Last when ascending, first when descending.
    Largest,
    /// First when ascending, last when descending.
    Smallest,
    /// Last always.
    Last,
}

/// How rows are counted off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paging {
    /// `LIMIT n OFFSET m`.
    Limit {
        /// What stands for no limit before an offset; nothing where an offset may stand alone.
        unlimited: Option<&'static str>,
        /// Both may be parameters.
        bound: bool,
    },
    /// `OFFSET m ROWS FETCH NEXT n ROWS ONLY`.
    Fetch {
        /// An order that orders nothing, where the clause needs one.
        order: Option<&'static str>,
    },
}

/// One way of matching patterns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matching {
    /// `#1` is the text, `#2` the pattern.
    pub template: &'static str,
    /// How the pattern is written.
    pub syntax: PatternSyntax,
}

/// Words of aggregates.
#[derive(Debug, Clone, Copy)]
pub struct Aggregates {
    /// `#1` as a double.
    pub double: &'static str,
    /// `#1`, a double, rounded down.
    pub floor: &'static str,
    /// `#1`, of a kind, as a date and time in UTC; nothing for kinds that are no time.
    pub instant: fn(Kind) -> Option<&'static str>,
    /// The text of the calendar bucket that `#1`, an instant as above, is in.
    pub calendar: fn(CalendarUnit) -> &'static str,
    /// `#1`, an instant as above, as rows carry it.
    pub iso: &'static str,
    /// Sum of `#1`, integers.
    pub sum_integers: &'static str,
    /// Sum of `#1`, other numbers. Of nothing it is null, as the other one is.
    pub sum: &'static str,
    /// Smallest and largest of `#1`; null of nothing.
    pub extremes: (&'static str, &'static str),
    /// Mean of `#1`.
    pub avg: &'static str,
    /// Mean of `#1`, integers, where it is another one.
    pub avg_integers: Option<&'static str>,
    /// Smallest and largest of `#1`, booleans.
    pub booleans: (&'static str, &'static str),
    /// An estimate of how many distinct values `#1` has.
    pub distinct_fast: Option<&'static str>,
    /// Percentile `#2` of `#1`, doubles; nothing: ranks are counted.
    pub percentile: Option<&'static str>,
    /// `#1` of the first row by the order `#2` among those that pass `#3`; nothing: ranks are counted.
    pub first: Option<&'static str>,
    /// Passes a row with the chance `#1`.
    pub sample: &'static str,
    /// What makes a `WITH` query run once although it is used twice: the words before and after it. Nothing: no words do.
    pub run_once: Option<(&'static str, &'static str)>,
    /// A JSON list of `{"key": v, "count": n}` in the order of `r`, as text, over the columns `v`, `n` and `r`.
    pub list: &'static str,
    /// Geohash cells.
    pub geohash: Option<Cell>,
    /// H3 cells.
    pub h3: Option<Cell>,
}

/// Cells of a grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    /// The cell of latitude `#1` and longitude `#2` at the precision `#3`, as text.
    pub cell: &'static str,
    /// Latitude and longitude of the point `#1`; nothing where points cannot be taken apart.
    pub point: Option<(&'static str, &'static str)>,
}

/// What most engines have in common, as a base for their own values; above all, that they lack what only some have. Its
/// name, its words and its order of nulls are nobody's: every dialect has its own.
const COMMON: Dialect = Dialect {
    name: "",
    max_parts: 3,
    base: "t",
    max_params: 0,
    quote: double_quoted,
    placeholder: question_mark,
    booleans_are_integers: false,
    dates_are_text: false,
    nul_in_text: true,
    infinities: false,
    membership: Membership::List { max: usize::MAX },
    row_comparison: false,
    nulls: Nulls::Largest,
    paging: Paging::Limit { unlimited: None, bound: true },
    text_cast: "#1",
    text_casts: &[],
    bytes_cast: None,
    literal: None,
    matching_case: LIKE,
    matching_any_case: LIKE,
    narrows_enums: false,
    unique_keys: true,
    uuid_order: None,
    finite: None,
    shown: |_| None,
    tie: |_| None,
    cursor_value: |_, _| None,
    aggregates: Aggregates {
        double: "#1",
        floor: "FLOOR(#1)",
        instant: |_| None,
        calendar: |_| "#1",
        iso: "#1",
        sum_integers: "SUM(#1)",
        sum: "SUM(#1)",
        extremes: ("MIN(#1)", "MAX(#1)"),
        avg: "AVG(#1)",
        avg_integers: None,
        booleans: ("MIN(#1)", "MAX(#1)"),
        distinct_fast: None,
        percentile: None,
        first: None,
        sample: "1=1",
        run_once: None,
        list: "#1",
        geohash: None,
        h3: None,
    },
};

/// `LIKE` as the standard has it.
const LIKE: Matching = Matching { template: "#1 LIKE #2 ESCAPE '!'", syntax: PatternSyntax::Like };
/// The same for those who have no word that does not tell case apart.
const LOWER_LIKE: Matching =
    Matching { template: "LOWER(#1) LIKE LOWER(#2) ESCAPE '!'", syntax: PatternSyntax::Like };
/// The same with the word that some have.
const ILIKE: Matching = Matching { template: "#1 ILIKE #2 ESCAPE '!'", syntax: PatternSyntax::Like };

impl Dialect {
    /// Whether nulls come last in this direction.
    pub(crate) fn nulls_last(&self, descending: bool) -> bool {
        match self.nulls {
            Nulls::Largest => !descending,
            Nulls::Smallest => descending,
            Nulls::Last => true,
        }
    }

    /// The refusal of what the dialect has no words for.
    pub(crate) fn unsupported(&self, what: &str) -> SqlError {
        SqlError::Unsupported { what: what.to_owned(), dialect: self.name }
    }
}

/// `"a""b"`
fn double_quoted(out: &mut String, name: &str) {
    quoted(out, name, '"', '"');
}

/// `` `a``b` ``
fn back_quoted(out: &mut String, name: &str) {
    quoted(out, name, '`', '`');
}

fn quoted(out: &mut String, name: &str, open: char, close: char) {
    out.push(open);
    for character in name.chars() {
        out.push(character);
        if character == close {
            out.push(close);
        }
    }
    out.push(close);
}

fn question_mark(out: &mut String, _slot: usize, _param: &Param) {
    out.push('?');
}

fn numbered(out: &mut String, before: &str, slot: usize) {
    out.push_str(before);
    out.push_str(&slot.to_string());
}
