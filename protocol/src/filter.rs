//! The `where` grammar: parsed and validated once, before any IO.
//!
//! Meaning of the operators: spec, bridges 2.2. Three-valued logic as in SQL: a row for which a test is unknown (its
//! column is null) is neither in a filter nor in that filter's `$not`. `$like` and `$exists` are ours.

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::json::{Kind, Object, push_text};
use crate::{Capabilities, Invalid, LogicalOp, RequestError, Scalar, StringOp, UnsupportedOperator};

/// How deep conditions may nest: in the text, and once parsed, where the keys of one object are a level, too.
const MAX_DEPTH: usize = 32;
/// How many tests and logical operators one filter may have.
const MAX_NODES: usize = 10_000;
/// How many entries the text of a filter may have. One test has up to three (its place in a list, its column, its
/// operator), so that what [`Filter::to_json`] writes is never above the limit.
const MAX_ENTRIES: usize = 3 * MAX_NODES;
/// How many values one `$in` or `$nin` may have.
const MAX_LIST: usize = 100_000;

/// A parsed `where`, with the optional operators that it uses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    root: Where,
    logical: Vec<LogicalOp>,
    strings: Vec<StringOp>,
}

/// A condition on one row.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Where {
    /// Matches every row. Also what an empty `$or`, `$and`, `$not` or operator object becomes.
    #[default]
    Everything,
    /// All of them. Never empty.
    All(Vec<Where>),
    /// Any of them. Never empty.
    Any(Vec<Where>),
    /// Not this one. Never around [`Where::Everything`].
    Not(Box<Where>),
    /// A test on one column.
    Field {
        /// The column, or the lens field before it is mapped.
        name: String,
        /// What is asked of it.
        test: Test,
    },
}

/// A test on one column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Test {
    /// `$eq`; with [`Scalar::Null`]: is null.
    Equal(Scalar),
    /// `$ne`: not equal and not null; with [`Scalar::Null`]: is not null.
    NotEqual(Scalar),
    /// `$gt`, `$gte`, `$lt`, `$lte`; with [`Scalar::Null`] no row matches.
    Compare(Comparison, Scalar),
    /// `$in`: equal to one of them. A null in it matches nothing. An empty list, which is parsed as [`Test::Never`],
    /// matches no row.
    In(Vec<Scalar>),
    /// `$nin`: not null and equal to none of them. A null in it means no row matches. An empty list, which is parsed as
    /// [`Test::Always`], matches every row.
    NotIn(Vec<Scalar>),
    /// A string operator with its operand.
    Text(TextMatch, String),
    /// `$exists`: not null when true, null when false.
    Exists(bool),
    /// No row: `$in` without a list or with an empty one, a string operator without a string.
    Never,
    /// Every row, nulls too: `$nin` without a list or with an empty one.
    Always,
}

/// An order comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// `$gt`
    Greater,
    /// `$gte`
    GreaterOrEqual,
    /// `$lt`
    Less,
    /// `$lte`
    LessOrEqual,
}

/// A string operator. All but [`TextMatch::Like`] ignore case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TextMatch {
    /// `$ilike`: the whole value matches a pattern; `%` any run, `_` one character, `\` escapes.
    ILike,
    /// `$like`: the same, case-sensitive.
    Like,
    /// `$contains`: the operand is literal text.
    Contains,
    /// `$startsWith`: the operand is literal text.
    StartsWith,
    /// `$endsWith`: the operand is literal text.
    EndsWith,
}

impl Filter {
    /// Matches every row.
    pub fn everything() -> Self {
        Self::default()
    }

    /// Reads a `where` object. Mistakes name the field below `where`.
    pub fn parse(raw: &RawValue) -> Result<Self, RequestError> {
        let mut parser = Parser { filter: Self::default(), entries: 0 };
        let root = parser.object(raw, 0).map_err(|error| error.within("where"))?;
        root.check_size().map_err(|invalid| invalid.within("where"))?;
        Ok(Self { root, ..parser.filter })
    }

    /// Reads a `where` from JSON text.
    pub fn from_json(text: &str) -> Result<Self, RequestError> {
        let raw = serde_json::from_str::<&RawValue>(text)
            .map_err(|error| Invalid::new("where", format!("an object of valid JSON ({error})")))?;
        Self::parse(raw)
    }

    /// A filter made by ourselves.
    pub fn from_where(root: Where) -> Self {
        let mut filter = Self::default();
        filter.note(&root);
        Self { root, ..filter }
    }

    /// The condition.
    pub fn condition(&self) -> &Where {
        &self.root
    }

    /// The condition, by value.
    pub fn into_condition(self) -> Where {
        self.root
    }

    /// Whether every row matches because nothing is asked.
    pub fn is_everything(&self) -> bool {
        self.root == Where::Everything
    }

    /// Refuses operators that a bridge does not declare: at any depth, and even where their operand is empty.
    pub fn check(&self, capabilities: &Capabilities) -> Result<(), UnsupportedOperator> {
        let logical = self.logical.iter().find(|op| !capabilities.where_logical_ops.contains(op));
        if let Some(op) = logical {
            return Err(UnsupportedOperator::new(op.as_str()));
        }
        match self.strings.iter().find(|op| !capabilities.where_string_ops.contains(op)) {
            Some(op) => Err(UnsupportedOperator::new(op.as_str())),
            None => Ok(()),
        }
    }

    /// Rows that match both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let root = match (self.root, other.root) {
            (Where::Everything, root) | (root, Where::Everything) => root,
            (left, right) => Where::All(vec![left, right]),
        };
        let mut filter = Self { root, logical: self.logical, strings: self.strings };
        other.logical.into_iter().for_each(|op| filter.note_logical(op));
        other.strings.into_iter().for_each(|op| filter.note_string(op));
        filter
    }

    /// The same filter over other names. The first refusal ends it.
    pub fn try_rename<E>(&self, rename: &mut impl FnMut(&str) -> Result<String, E>) -> Result<Self, E> {
        Ok(Self {
            root: self.root.try_rename(rename)?,
            logical: self.logical.clone(),
            strings: self.strings.clone(),
        })
    }

    /// The filter as JSON; it reads back as an equal condition. `$and` is written only where the keys of one object cannot
    /// say the same, because a bridge need not have `$and`.
    pub fn to_json(&self) -> String {
        let mut out = String::new();
        self.root.write_json(&mut out);
        out
    }

    fn note(&mut self, condition: &Where) {
        match condition {
            Where::Everything => {}
            Where::All(parts) => parts.iter().for_each(|part| self.note(part)),
            Where::Any(parts) => {
                self.note_logical(LogicalOp::Or);
                parts.iter().for_each(|part| self.note(part));
            }
            Where::Not(part) => {
                self.note_logical(LogicalOp::Not);
                self.note(part);
            }
            Where::Field { test, .. } => self.note_test(test),
        }
    }

    fn note_test(&mut self, test: &Test) {
        if let Test::Text(text_match, _) = test {
            self.note_string(text_match.capability());
        }
    }

    fn note_logical(&mut self, op: LogicalOp) {
        if !self.logical.contains(&op) {
            self.logical.push(op);
        }
    }

    fn note_string(&mut self, op: StringOp) {
        if !self.strings.contains(&op) {
            self.strings.push(op);
        }
    }
}

impl Serialize for Filter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(self.to_json()).map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

impl Where {
    /// A test on a column.
    pub fn field(name: impl Into<String>, test: Test) -> Self {
        Self::Field { name: name.into(), test }
    }

    /// Every column that is tested, in order, with repetitions.
    pub fn fields(&self) -> Vec<&str> {
        match self {
            Self::Everything => Vec::new(),
            Self::All(parts) | Self::Any(parts) => parts.iter().flat_map(Self::fields).collect(),
            Self::Not(part) => part.fields(),
            Self::Field { name, .. } => vec![name],
        }
    }

    fn try_rename<E>(&self, rename: &mut impl FnMut(&str) -> Result<String, E>) -> Result<Self, E> {
        Ok(match self {
            Self::Everything => Self::Everything,
            Self::All(parts) => {
                Self::All(parts.iter().map(|part| part.try_rename(rename)).collect::<Result<_, _>>()?)
            }
            Self::Any(parts) => {
                Self::Any(parts.iter().map(|part| part.try_rename(rename)).collect::<Result<_, _>>()?)
            }
            Self::Not(part) => Self::Not(Box::new(part.try_rename(rename)?)),
            Self::Field { name, test } => Self::Field { name: rename(name)?, test: test.clone() },
        })
    }

    fn check_size(&self) -> Result<(), Invalid> {
        if self.depth() > MAX_DEPTH {
            return Err(too_deep());
        }
        if self.nodes() > MAX_NODES {
            return Err(Invalid::new("", format!("at most {MAX_NODES} conditions in one filter")));
        }
        Ok(())
    }

    fn depth(&self) -> usize {
        match self {
            Self::Everything | Self::Field { .. } => 0,
            Self::All(parts) | Self::Any(parts) => 1 + parts.iter().map(Self::depth).max().unwrap_or(0),
            Self::Not(part) => 1 + part.depth(),
        }
    }

    fn nodes(&self) -> usize {
        match self {
            Self::Everything | Self::Field { .. } => 1,
            Self::All(parts) | Self::Any(parts) => 1 + parts.iter().map(Self::nodes).sum::<usize>(),
            Self::Not(part) => 1 + part.nodes(),
        }
    }

    fn write_json(&self, out: &mut String) {
        out.push('{');
        match self {
            Self::Everything => {}
            Self::All(parts) if distinct(parts.iter().map(Self::key)) => {
                write_separated(out, parts, Self::write_entry);
            }
            Self::All(_) | Self::Any(_) | Self::Not(_) | Self::Field { .. } => self.write_entry(out),
        }
        out.push('}');
    }

    /// The key under which the condition stands in an object.
    fn key(&self) -> &str {
        match self {
            Self::All(parts) => tests_of_one_column(parts).map_or("$and", |(name, _)| name),
            Self::Everything => "$and",
            Self::Any(_) => "$or",
            Self::Not(_) => "$not",
            Self::Field { name, .. } => name,
        }
    }

    fn write_entry(&self, out: &mut String) {
        push_text(out, self.key());
        out.push(':');
        match self {
            Self::Everything => out.push_str("[]"),
            Self::All(parts) => match tests_of_one_column(parts) {
                Some((_, tests)) => write_tests(out, &tests),
                None => write_list(out, parts, Self::write_json),
            },
            Self::Any(parts) => write_list(out, parts, Self::write_json),
            Self::Not(part) => part.write_json(out),
            Self::Field { test, .. } => write_tests(out, &[test]),
        }
    }
}

/// The column and its tests, when these conditions can be said as one object of operators.
fn tests_of_one_column(parts: &[Where]) -> Option<(&str, Vec<&Test>)> {
    let mut column = None;
    let mut tests = Vec::new();
    for part in parts {
        let Where::Field { name, test } = part else { return None };
        if *column.get_or_insert(name.as_str()) != name {
            return None;
        }
        tests.push(test);
    }
    let column = column.filter(|_| distinct(tests.iter().map(|test| test.operator())))?;
    Some((column, tests))
}

fn distinct<'a>(mut keys: impl Iterator<Item = &'a str>) -> bool {
    let mut seen = std::collections::HashSet::new();
    keys.all(|key| seen.insert(key))
}

fn write_tests(out: &mut String, tests: &[&Test]) {
    out.push('{');
    write_separated(out, tests, |test, out| {
        push_text(out, test.operator());
        out.push(':');
        test.write_operand(out);
    });
    out.push('}');
}

fn write_list<T>(out: &mut String, items: &[T], write: impl Fn(&T, &mut String)) {
    out.push('[');
    write_separated(out, items, write);
    out.push(']');
}

fn write_separated<T>(out: &mut String, items: &[T], write: impl Fn(&T, &mut String)) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write(item, out);
    }
}

impl Test {
    fn operator(&self) -> &'static str {
        match self {
            Self::Equal(_) => "$eq",
            Self::NotEqual(_) => "$ne",
            Self::Compare(comparison, _) => comparison.as_str(),
            Self::In(_) | Self::Never => "$in",
            Self::NotIn(_) | Self::Always => "$nin",
            Self::Text(text_match, _) => text_match.as_str(),
            Self::Exists(_) => "$exists",
        }
    }

    fn write_operand(&self, out: &mut String) {
        match self {
            Self::Equal(value) | Self::NotEqual(value) | Self::Compare(_, value) => value.write_json(out),
            Self::In(values) | Self::NotIn(values) => write_list(out, values, Scalar::write_json),
            Self::Text(_, operand) => push_text(out, operand),
            Self::Exists(exists) => Scalar::Bool(*exists).write_json(out),
            Self::Never | Self::Always => out.push_str("[]"),
        }
    }
}

impl Comparison {
    /// The operator's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Greater => "$gt",
            Self::GreaterOrEqual => "$gte",
            Self::Less => "$lt",
            Self::LessOrEqual => "$lte",
        }
    }
}

impl TextMatch {
    /// The operator's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ILike => "$ilike",
            Self::Like => "$like",
            Self::Contains => "$contains",
            Self::StartsWith => "$startsWith",
            Self::EndsWith => "$endsWith",
        }
    }

    /// The capability that a bridge declares for it.
    pub const fn capability(self) -> StringOp {
        match self {
            Self::ILike => StringOp::Ilike,
            Self::Like => StringOp::Like,
            Self::Contains => StringOp::Contains,
            Self::StartsWith => StringOp::StartsWith,
            Self::EndsWith => StringOp::EndsWith,
        }
    }
}

struct Parser {
    filter: Filter,
    entries: usize,
}

impl Parser {
    fn object(&mut self, raw: &RawValue, depth: usize) -> Result<Where, RequestError> {
        if depth > MAX_DEPTH {
            return Err(too_deep().into());
        }
        let object = Object::parse(raw)?;
        let mut parts = Vec::new();
        for (key, value) in object.iter() {
            let part = self.entry(key, value, depth).map_err(|error| error.within(key))?;
            parts.push(part);
        }
        Ok(all(parts))
    }

    fn entry(&mut self, key: &str, value: &RawValue, depth: usize) -> Result<Where, RequestError> {
        self.count()?;
        match key {
            "$or" => {
                self.filter.note_logical(LogicalOp::Or);
                Ok(any(self.list(value, depth)?))
            }
            "$and" => {
                self.filter.note_logical(LogicalOp::And);
                Ok(all(self.list(value, depth)?))
            }
            "$not" => {
                self.filter.note_logical(LogicalOp::Not);
                Ok(match self.object(value, depth + 1)? {
                    Where::Everything => Where::Everything,
                    part => Where::Not(Box::new(part)),
                })
            }
            // A key like `$where` or `$expr` means code to some engines; it never gets that far.
            unknown if unknown.starts_with('$') => Err(UnsupportedOperator::new(unknown).into()),
            name => self.field(name, value),
        }
    }

    fn list(&mut self, raw: &RawValue, depth: usize) -> Result<Vec<Where>, RequestError> {
        let Kind::Array(items) = Kind::of(raw)? else {
            return Err(Invalid::new("", "a list of where objects").into());
        };
        let mut parts = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            self.count()?;
            parts.push(self.object(item, depth + 1).map_err(|error| error.within(&format!("[{index}]")))?);
        }
        Ok(parts)
    }

    fn field(&mut self, name: &str, raw: &RawValue) -> Result<Where, RequestError> {
        match Kind::of(raw)? {
            Kind::Object(operators) => {
                let mut tests = Vec::new();
                for (op, operand) in operators.iter() {
                    self.count()?;
                    let test = self.test(op, operand).map_err(|error| error.within(op))?;
                    tests.push(Where::field(name, test));
                }
                Ok(all(tests))
            }
            Kind::Array(items) => Ok(Where::field(name, one_of(scalars(items)?))),
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) => {
                Ok(Where::field(name, Test::Equal(Scalar::parse(raw)?)))
            }
        }
    }

    fn test(&mut self, op: &str, operand: &RawValue) -> Result<Test, RequestError> {
        let compare = |comparison| Ok(Test::Compare(comparison, Scalar::parse(operand)?));
        match op {
            "$eq" => Ok(Test::Equal(Scalar::parse(operand)?)),
            "$ne" => Ok(Test::NotEqual(Scalar::parse(operand)?)),
            "$gt" => compare(Comparison::Greater),
            "$gte" => compare(Comparison::GreaterOrEqual),
            "$lt" => compare(Comparison::Less),
            "$lte" => compare(Comparison::LessOrEqual),
            "$in" => Ok(one_of(values(operand)?)),
            "$nin" => Ok(none_of(values(operand)?)),
            "$exists" => match operand.get() {
                "true" => Ok(Test::Exists(true)),
                "false" => Ok(Test::Exists(false)),
                _ => Err(Invalid::new("", "true or false").into()),
            },
            "$ilike" => self.text(TextMatch::ILike, operand),
            "$like" => self.text(TextMatch::Like, operand),
            "$contains" => self.text(TextMatch::Contains, operand),
            "$startsWith" => self.text(TextMatch::StartsWith, operand),
            "$endsWith" => self.text(TextMatch::EndsWith, operand),
            unknown => Err(UnsupportedOperator::new(unknown).into()),
        }
    }

    fn text(&mut self, text_match: TextMatch, operand: &RawValue) -> Result<Test, RequestError> {
        self.filter.note_string(text_match.capability());
        Ok(match Kind::of(operand)? {
            Kind::Text(text) => Test::Text(text_match, text.into_owned()),
            _ => Test::Never,
        })
    }

    fn count(&mut self) -> Result<(), Invalid> {
        self.entries += 1;
        if self.entries > MAX_ENTRIES {
            return Err(Invalid::new("", format!("at most {MAX_ENTRIES} entries in one filter")));
        }
        Ok(())
    }
}

fn too_deep() -> Invalid {
    Invalid::new("", format!("at most {MAX_DEPTH} levels of conditions"))
}

fn one_of(values: Vec<Scalar>) -> Test {
    if values.is_empty() { Test::Never } else { Test::In(values) }
}

fn none_of(values: Vec<Scalar>) -> Test {
    if values.is_empty() { Test::Always } else { Test::NotIn(values) }
}

/// What is no list means the same as an empty one.
fn values(operand: &RawValue) -> Result<Vec<Scalar>, Invalid> {
    match Kind::of(operand)? {
        Kind::Array(items) => scalars(items),
        _ => Ok(Vec::new()),
    }
}

fn scalars(items: Vec<&RawValue>) -> Result<Vec<Scalar>, Invalid> {
    if items.len() > MAX_LIST {
        return Err(Invalid::new("", format!("at most {MAX_LIST} values")));
    }
    let scalar = |(index, raw)| Scalar::parse(raw).map_err(|invalid| invalid.within(&format!("[{index}]")));
    items.into_iter().enumerate().map(scalar).collect()
}

fn all(parts: Vec<Where>) -> Where {
    combine(parts, Where::All)
}

fn any(parts: Vec<Where>) -> Where {
    combine(parts, Where::Any)
}

/// Parts that ask nothing vanish; one part stands for itself.
fn combine(parts: Vec<Where>, several: fn(Vec<Where>) -> Where) -> Where {
    let mut parts: Vec<Where> = parts.into_iter().filter(|part| *part != Where::Everything).collect();
    match parts.len() {
        0 => Where::Everything,
        1 => parts.pop().unwrap_or_default(),
        _ => several(parts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Filter {
        Filter::from_json(text).unwrap()
    }

    fn refusal(text: &str) -> String {
        Filter::from_json(text).unwrap_err().to_string()
    }

    #[test]
    fn what_asks_nothing_vanishes() {
        for text in [
            "{}",
            r#"{"$or":[]}"#,
            r#"{"$or":[{}]}"#,
            r#"{"$not":{}}"#,
            r#"{"a":{}}"#,
            r#"{"$and":[{},{"$or":[]}]}"#,
        ] {
            assert!(parse(text).is_everything(), "{text}");
        }
        assert_eq!(parse(r#"{"a":{},"b":1}"#), parse(r#"{"b":1}"#));
    }

    #[test]
    fn operands_of_the_wrong_kind_match_nothing_where_the_reference_says_so() {
        assert_eq!(parse(r#"{"a":{"$in":null}}"#).condition(), &Where::field("a", Test::Never));
        assert_eq!(parse(r#"{"a":{"$nin":5}}"#).condition(), &Where::field("a", Test::Always));
        assert_eq!(parse(r#"{"a":{"$contains":5}}"#).condition(), &Where::field("a", Test::Never));
    }

    #[test]
    fn mistakes_name_the_field() {
        assert_eq!(
            refusal(r#"{"price":{"$gt":[1]}}"#),
            "where.price.$gt: expected a string, a number, a boolean or null"
        );
        assert_eq!(refusal(r#"{"$or":{"a":1}}"#), "where.$or: expected a list of where objects");
        assert_eq!(
            refusal(r#"{"$or":[{},{"a":{"$exists":1}}]}"#),
            "where.$or[1].a.$exists: expected true or false"
        );
        assert_eq!(refusal(r#"{"a":[1,{}]}"#), "where.a[1]: expected a string, a number, a boolean or null");
        assert!(refusal(r#"{"a":1,"a":2}"#).contains("occurs twice"));
        assert_eq!(refusal("[]"), "where: expected an object");
    }

    #[test]
    fn unknown_operators_are_typed() {
        assert_eq!(refusal(r#"{"a":{"$regex":"x"}}"#), "Bridge does not support where operator \"$regex\"");
        assert_eq!(refusal(r#"{"a":{"nested":1}}"#), "Bridge does not support where operator \"$nested\"");
        assert_eq!(refusal(r#"{"$where":"1"}"#), "Bridge does not support where operator \"$where\"");
    }

    #[test]
    fn depth_and_size_are_bounded() {
        let deep = format!("{}{}{}", r#"{"$not":"#.repeat(40), r#"{"a":1}"#, "}".repeat(40));
        assert!(refusal(&deep).contains("levels"), "{}", refusal(&deep));
        let wide = format!(r#"{{"$or":[{}]}}"#, vec![r#"{"a":1}"#; 11_000].join(","));
        assert!(refusal(&wide).contains("conditions"));
        let empty = format!(r#"{{"$or":[{}]}}"#, vec!["{}"; 31_000].join(","));
        assert!(refusal(&empty).contains("entries"));
        let bottomless = format!("{}1{}", r#"{"a":"#.repeat(100_000), "}".repeat(100_000));
        assert!(Filter::from_json(&bottomless).is_err());
    }

    #[test]
    fn undeclared_operators_are_refused_at_any_depth_and_even_when_empty() {
        let only_and = Capabilities { where_logical_ops: vec![LogicalOp::And], ..Capabilities::default() };
        let refused = |text: &str| parse(text).check(&only_and).unwrap_err().op;
        assert_eq!(refused(r#"{"$and":[{"$or":[{"a":1}]}]}"#), "$or");
        assert_eq!(refused(r#"{"$or":[]}"#), "$or");
        assert_eq!(refused(r#"{"a":{"$ilike":5}}"#), "$ilike");
        assert_eq!(parse(r#"{"$and":[{"a":1},{"b":{"$in":[1]}}]}"#).check(&only_and), Ok(()));
    }

    #[test]
    fn json_reads_back() {
        for text in [
            r#"{"a":1,"b":{"$gte":10.50,"$lt":12345678901234567890},"$or":[{"c":null},{"$not":{"d":["x",true]}}]}"#,
            r#"{"quote\"d":{"$contains":"a\\b\n"},"e":{"$exists":false},"f":{"$nin":[]}}"#,
        ] {
            let filter = parse(text);
            assert_eq!(parse(&filter.to_json()).condition(), filter.condition());
        }
        assert!(parse(r#"{"a":12345678901234567890.10}"#).to_json().contains("12345678901234567890.10"));
    }

    #[test]
    fn json_has_and_only_where_one_object_cannot_say_it() {
        for (text, written) in [
            (r#"{"a":1,"b":2}"#, r#"{"a":{"$eq":1},"b":{"$eq":2}}"#),
            (
                r#"{"a":{"$gt":1,"$lt":5},"$not":{"b":2}}"#,
                r#"{"a":{"$gt":1,"$lt":5},"$not":{"b":{"$eq":2}}}"#,
            ),
            (r#"{"$and":[{"a":{"$gt":1}},{"a":{"$lt":5}}]}"#, r#"{"a":{"$gt":1,"$lt":5}}"#),
            (r#"{"$and":[{"a":1},{"a":2}]}"#, r#"{"$and":[{"a":{"$eq":1}},{"a":{"$eq":2}}]}"#),
            (r#"{"a":[],"b":{"$nin":5}}"#, r#"{"a":{"$in":[]},"b":{"$nin":[]}}"#),
        ] {
            assert_eq!(parse(text).to_json(), written);
            assert_eq!(parse(written).condition(), parse(text).condition());
        }
    }

    #[test]
    fn a_filter_at_the_limits_reads_back() {
        let deep = format!("{}{}{}", r#"{"$not":"#.repeat(31), r#"{"a":1,"b":2}"#, "}".repeat(31));
        let wide = format!(r#"{{"$or":[{}]}}"#, vec![r#"{"a":1}"#; 9_999].join(","));
        for text in [deep, wide] {
            let filter = parse(&text);
            assert_eq!(parse(&filter.to_json()).condition(), filter.condition());
        }
    }

    #[test]
    fn renaming_reaches_every_field() {
        let filter = parse(r#"{"a":1,"$or":[{"b":2},{"$not":{"c":3}}]}"#);
        let renamed = filter.try_rename(&mut |name| Ok::<_, ()>(name.to_uppercase())).unwrap();
        assert_eq!(renamed.condition().fields(), ["A", "B", "C"]);
    }
}
