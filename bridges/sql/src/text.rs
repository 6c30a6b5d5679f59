//! SQL text, built by three verbs: `syntax` takes only what stands in our source, `ident` quotes, `param` binds.
//!
//! Nothing that came with a request can become syntax this way. Numbers that a dialect wants as literals go through
//! [`SqlText::number`], which renders a double of ours anew.

use protocol::{Invalid, Timestamp};

use crate::{Dialect, Kind, SqlError};

/// A statement.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sql {
    /// The text, with the dialect's placeholders.
    pub text: String,
    /// What to bind, in the order of the placeholders.
    pub params: Vec<Param>,
}

/// A value to bind.
#[derive(Debug, Clone, PartialEq)]
pub struct Param {
    /// The value.
    pub value: Value,
    /// Class of the column that it is compared with, so that it can be bound with the right type. Nothing where there
    /// is no column (limits), or where the column is compared as text.
    pub kind: Option<Kind>,
}

/// A value that fits its place.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// True or false. Dialects that store booleans as integers get [`Value::Integer`] instead.
    Boolean(bool),
    /// A 64-bit integer.
    Integer(i64),
    /// A finite double.
    Double(f64),
    /// An exact number as a JSON literal (digits, sign, fraction, exponent): a decimal, or an integer beyond 64 bits.
    Decimal(String),
    /// Text; also UUIDs (lower case, hyphens), times of day (`HH:MM:SS[.ffffff]`) and enum labels.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// An instant; for [`Kind::Date`] midnight UTC of the day.
    Timestamp(Timestamp),
    /// Several values of one type bound as one array: PostgreSQL's `= ANY($1)`. Never nested.
    List(Vec<Value>),
}

/// An expression in the server's own words: what it prints of an index or a generated column that it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Printed(String);

impl Printed {
    /// `text` is what the server's own printer of expressions gave. Nothing of a request may be in it.
    pub fn by_server(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// Builds the text of one statement in one dialect.
#[derive(Debug)]
pub struct SqlText<'a> {
    dialect: &'a Dialect,
    sql: Sql,
    mistake: Option<SqlError>,
}

impl<'a> SqlText<'a> {
    /// An empty statement.
    pub fn new(dialect: &'a Dialect) -> Self {
        Self { dialect, sql: Sql::default(), mistake: None }
    }

    /// Appends words of our own.
    pub fn syntax(&mut self, words: &'static str) -> &mut Self {
        self.sql.text.push_str(words);
        self
    }

    /// Appends a quoted identifier. An empty one, or one with a NUL character, is a mistake that
    /// [`finish`](Self::finish) reports.
    pub fn ident(&mut self, name: &str) -> &mut Self {
        if name.is_empty() || name.contains('\0') {
            self.mistake.get_or_insert_with(|| {
                Invalid::new("name", format!("an identifier without NUL, not {name:?}")).into()
            });
        }
        (self.dialect.quote)(&mut self.sql.text, name);
        self
    }

    /// Appends a qualified name, part by part.
    pub fn name(&mut self, parts: &[String]) -> &mut Self {
        self.separated(".", parts, |sql, part| {
            sql.ident(part);
        })
    }

    /// Appends a placeholder and binds `param` to it.
    pub fn param(&mut self, param: Param) -> &mut Self {
        (self.dialect.placeholder)(&mut self.sql.text, self.sql.params.len() + 1, &param);
        self.sql.params.push(param);
        self
    }

    /// Appends an expression that the server has printed, in parentheses.
    pub fn printed(&mut self, expression: &Printed) -> &mut Self {
        self.sql.text.push('(');
        self.sql.text.push_str(&expression.0);
        self.sql.text.push(')');
        self
    }

    /// Appends a number of ours as a literal.
    pub fn whole(&mut self, number: u64) -> &mut Self {
        self.sql.text.push_str(&number.to_string());
        self
    }

    /// Appends a double as a literal with an exponent, which every dialect reads as a double. One that is not finite is
    /// a mistake.
    pub fn number(&mut self, number: f64) -> &mut Self {
        if !number.is_finite() {
            self.mistake.get_or_insert_with(|| Invalid::new("", "a finite number").into());
        }
        self.sql.text.push_str(&format!("{number:e}"));
        self
    }

    /// Appends a template of ours, in which `#1` to `#9` are holes that `fill` fills.
    pub(crate) fn template(
        &mut self,
        template: &'static str,
        mut fill: impl FnMut(&mut Self, u8),
    ) -> &mut Self {
        let mut pieces = template.split('#');
        self.syntax(pieces.next().unwrap_or_default());
        for piece in pieces {
            let hole = piece.bytes().next().unwrap_or_default();
            fill(self, hole.wrapping_sub(b'0'));
            self.syntax(piece.get(1..).unwrap_or_default());
        }
        self
    }

    /// Writes `items` with `separator` between them.
    pub(crate) fn separated<T>(
        &mut self,
        separator: &'static str,
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T),
    ) -> &mut Self {
        for (index, item) in items.into_iter().enumerate() {
            if index > 0 {
                self.syntax(separator);
            }
            write(self, item);
        }
        self
    }

    /// The dialect that it is written in.
    pub(crate) fn dialect(&self) -> &'a Dialect {
        self.dialect
    }

    /// The statement, unless an identifier was refused or it has more parameters than the database takes.
    pub fn finish(self) -> Result<Sql, SqlError> {
        if let Some(mistake) = self.mistake {
            return Err(mistake);
        }
        if self.sql.params.len() > self.dialect.max_params {
            return Err(Invalid::new("where", format!("at most {} values", self.dialect.max_params)).into());
        }
        Ok(self.sql)
    }
}

impl Param {
    /// A value that stands for itself, like a limit.
    pub fn plain(value: Value) -> Self {
        Self { value, kind: None }
    }
}
