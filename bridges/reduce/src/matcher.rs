//! A filter over one row, in three-valued logic: a test on a null is neither true nor false, and only true matches.

mod pattern;

use std::cmp::Ordering;
use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use protocol::{Comparison, Filter, Scalar, Test, Timestamp, Where};

use crate::layout::{Holds, Kind, Layout, values};
use crate::values::{Number, Value};
use pattern::Pattern;

/// A filter, made ready for the rows of one layout.
#[derive(Debug, Clone)]
pub struct Matcher(Node);

impl Matcher {
    /// Finds the filter's columns in a layout.
    pub fn new(filter: &Filter, layout: &mut Layout) -> Self {
        Self(Node::new(filter.condition(), layout))
    }

    /// Whether a row of that layout matches.
    pub fn matches(&self, row: &[Value]) -> bool {
        self.truth(row) == Some(true)
    }

    /// True, false or unknown.
    pub fn truth(&self, row: &[Value]) -> Option<bool> {
        self.0.truth(row)
    }
}

#[derive(Debug, Clone)]
enum Node {
    Everything,
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    Field(usize, Holds, Box<Check>),
}

/// A test with its operands read once in every way that a column may want them.
#[derive(Debug, Clone)]
enum Check {
    Constant(bool),
    Null(bool),
    /// Whether the value is among the operands.
    Among(Operands),
    /// Whether it is not.
    NotAmong(Operands),
    Compare(Comparison, Operand),
    Pattern(Pattern),
}

impl Node {
    fn new(condition: &Where, layout: &mut Layout) -> Self {
        let mut nodes = |parts: &[Where]| parts.iter().map(|part| Self::new(part, layout)).collect();
        match condition {
            Where::Everything => Self::Everything,
            Where::All(parts) => Self::All(nodes(parts)),
            Where::Any(parts) => Self::Any(nodes(parts)),
            Where::Not(part) => Self::Not(Box::new(Self::new(part, layout))),
            Where::Field { name, test } => {
                let slot = layout.slot(name);
                let holds = layout.holds(slot);
                Self::Field(slot, holds, Box::new(Check::new(test, holds.kind)))
            }
        }
    }

    fn truth(&self, row: &[Value]) -> Option<bool> {
        match self {
            Self::Everything => Some(true),
            Self::All(nodes) => decide(nodes, row, false),
            Self::Any(nodes) => decide(nodes, row, true),
            Self::Not(node) => node.truth(row).map(|truth| !truth),
            Self::Field(slot, holds, check) => match row.get(*slot).unwrap_or(&Value::Null) {
                Value::Json(list) if holds.several && list.starts_with('[') => {
                    check.truth_of_several(&values(list, holds.kind))
                }
                value => check.truth(value),
            },
        }
    }
}

/// One node of value `decisive` decides; otherwise one that is unknown leaves it unknown.
fn decide(nodes: &[Node], row: &[Value], decisive: bool) -> Option<bool> {
    decide_each(nodes.iter().map(|node| node.truth(row)), decisive)
}

fn decide_each(truths: impl Iterator<Item = Option<bool>>, decisive: bool) -> Option<bool> {
    let mut unknown = false;
    for truth in truths {
        match truth {
            Some(truth) if truth == decisive => return Some(decisive),
            Some(_) => {}
            None => unknown = true,
        }
    }
    (!unknown).then_some(!decisive)
}

impl Check {
    fn new(test: &Test, kind: Kind) -> Self {
        let one = |scalar: &Scalar| Operands::new(std::slice::from_ref(scalar), kind);
        match test {
            Test::Equal(Scalar::Null) => Self::Null(true),
            Test::NotEqual(Scalar::Null) => Self::Null(false),
            Test::Equal(scalar) => Self::Among(one(scalar)),
            Test::NotEqual(scalar) => Self::NotAmong(one(scalar)),
            Test::Compare(comparison, scalar) => Self::Compare(*comparison, Operand::new(scalar, kind)),
            Test::In(scalars) if scalars.is_empty() => Self::Constant(false),
            Test::NotIn(scalars) if scalars.is_empty() => Self::Constant(true),
            Test::In(scalars) => Self::Among(Operands::new(scalars, kind)),
            Test::NotIn(scalars) => Self::NotAmong(Operands::new(scalars, kind)),
            Test::Text(text_match, operand) => Self::Pattern(Pattern::new(*text_match, operand)),
            Test::Exists(exists) => Self::Null(!exists),
            Test::Never => Self::Constant(false),
            Test::Always => Self::Constant(true),
        }
    }

    fn truth(&self, value: &Value) -> Option<bool> {
        match self {
            Self::Constant(truth) => Some(*truth),
            Self::Null(wanted) => Some(value.is_null() == *wanted),
            Self::Among(operands) => operands.contain(value),
            Self::NotAmong(operands) => operands.contain(value).map(|among| !among),
            Self::Compare(comparison, operand) => operand.compare(value, *comparison),
            Self::Pattern(_) if value.is_null() => None,
            Self::Pattern(pattern) => Some(value.text().is_some_and(|text| pattern.matches(&text))),
        }
    }

    /// What holds for one of several values, none of which is null, holds for them; what is negated must hold for each.
    fn truth_of_several(&self, values: &[Value]) -> Option<bool> {
        let decisive = !matches!(self, Self::NotAmong(_));
        decide_each(values.iter().map(|value| self.truth(value)), decisive)
    }
}

/// One operand in every form that a value may be compared with. What it cannot be, equals nothing.
#[derive(Debug, Clone, Default)]
struct Operand {
    null: bool,
    boolean: Option<bool>,
    number: Option<Number>,
    text: Option<String>,
    timestamp: Option<Timestamp>,
    bytes: Option<Vec<u8>>,
    /// The operand was a number and nobody knows the column: text that is a number is compared as one.
    loose: bool,
}

impl Operand {
    fn new(scalar: &Scalar, kind: Kind) -> Self {
        match scalar {
            Scalar::Null => Self { null: true, ..Self::default() },
            Scalar::Bool(value) => Self {
                boolean: Some(*value),
                number: (kind != Kind::Number).then_some(Number::Integer(i64::from(*value))),
                text: Some(value.to_string()),
                ..Self::default()
            },
            Scalar::Number(literal) => {
                let number = Number::parse(literal.as_str());
                Self {
                    boolean: bit(number.as_ref()),
                    text: Some(literal.as_str().to_owned()),
                    loose: kind == Kind::Unknown,
                    number,
                    ..Self::default()
                }
            }
            Scalar::Text(text) => Self {
                boolean: text.parse().ok(),
                number: Number::parse(text),
                timestamp: Timestamp::parse(text),
                bytes: STANDARD.decode(text).ok(),
                text: Some(if kind == Kind::Uuid { text.to_ascii_lowercase() } else { text.clone() }),
                ..Self::default()
            },
        }
    }

    fn compare(&self, value: &Value, comparison: Comparison) -> Option<bool> {
        if self.null || value.is_null() {
            return None;
        }
        // A value and an operand that cannot be compared: the row is there, the comparison does not hold.
        let Some(order) = self.order(value) else { return Some(false) };
        Some(match comparison {
            Comparison::Greater => order.is_gt(),
            Comparison::GreaterOrEqual => order.is_ge(),
            Comparison::Less => order.is_lt(),
            Comparison::LessOrEqual => order.is_le(),
        })
    }

    fn order(&self, value: &Value) -> Option<Ordering> {
        match value {
            Value::Null | Value::Json(_) => None,
            Value::Bool(value) => Some(value.cmp(self.boolean.as_ref()?)),
            Value::Number(value) => Some(value.cmp(self.number.as_ref()?)),
            Value::Text(value) => match (self.loose, Number::parse(value), &self.number) {
                (true, Some(value), Some(number)) => Some(value.cmp(number)),
                _ => Some(value.cmp(self.text.as_ref()?)),
            },
            Value::Timestamp(value) => Some(value.cmp(self.timestamp.as_ref()?)),
            Value::Bytes(value) => Some(value.cmp(self.bytes.as_ref()?)),
        }
    }
}

fn bit(number: Option<&Number>) -> Option<bool> {
    match number {
        Some(Number::Integer(0)) => Some(false),
        Some(Number::Integer(1)) => Some(true),
        _ => None,
    }
}

/// Operands of equality, found by hash: `$in` may have a hundred thousand.
#[derive(Debug, Clone, Default)]
struct Operands {
    null: bool,
    booleans: HashSet<bool>,
    numbers: HashSet<Number>,
    loose_numbers: HashSet<Number>,
    texts: HashSet<String>,
    timestamps: HashSet<Timestamp>,
    bytes: HashSet<Vec<u8>>,
}

impl Operands {
    fn new(scalars: &[Scalar], kind: Kind) -> Self {
        let mut operands = Self::default();
        for scalar in scalars {
            let operand = Operand::new(scalar, kind);
            operands.null |= operand.null;
            operands.booleans.extend(operand.boolean);
            operands.loose_numbers.extend(operand.number.clone().filter(|_| operand.loose));
            operands.numbers.extend(operand.number);
            operands.texts.extend(operand.text);
            operands.timestamps.extend(operand.timestamp);
            operands.bytes.extend(operand.bytes);
        }
        operands
    }

    fn contain(&self, value: &Value) -> Option<bool> {
        let found = match value {
            Value::Null => return None,
            Value::Json(_) => false,
            Value::Bool(value) => self.booleans.contains(value),
            Value::Number(value) => self.numbers.contains(value),
            Value::Text(value) => self.texts.contains(value) || self.contain_loosely(value),
            Value::Timestamp(value) => self.timestamps.contains(value),
            Value::Bytes(value) => self.bytes.contains(value),
        };
        // Not found among operands of which one is null: it might have been that one.
        if found || !self.null { Some(found) } else { None }
    }

    fn contain_loosely(&self, text: &str) -> bool {
        !self.loose_numbers.is_empty()
            && Number::parse(text).is_some_and(|number| self.loose_numbers.contains(&number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Schema;

    fn truth_of(schema: Schema, filter: &str, row: &str) -> Option<bool> {
        let mut layout = Layout::new(schema);
        let matcher = Matcher::new(&Filter::from_json(filter).unwrap(), &mut layout);
        matcher.truth(&layout.read(row).unwrap())
    }

    fn truth(filter: &str, row: &str) -> Option<bool> {
        truth_of(Schema::unknown(), filter, row)
    }

    #[test]
    fn null_is_neither_in_a_filter_nor_in_its_negation() {
        for filter in [
            r#"{"a":1}"#,
            r#"{"a":{"$ne":1}}"#,
            r#"{"a":{"$gt":1}}"#,
            r#"{"a":{"$in":[1]}}"#,
            r#"{"a":{"$nin":[1]}}"#,
            r#"{"a":{"$contains":"x"}}"#,
        ] {
            assert_eq!(truth(filter, r#"{"a":null}"#), None, "{filter}");
            assert_eq!(truth(&format!("{{\"$not\":{filter}}}"), "{}"), None, "{filter}");
        }
        assert_eq!(truth(r#"{"a":null}"#, "{}"), Some(true));
        assert_eq!(truth(r#"{"a":{"$ne":null}}"#, "{}"), Some(false));
        assert_eq!(truth(r#"{"a":{"$exists":false}}"#, r#"{"a":null}"#), Some(true));
        assert_eq!(truth(r#"{"a":{"$gte":null}}"#, r#"{"a":3}"#), None);
    }

    #[test]
    fn unknown_gives_way_to_what_decides() {
        assert_eq!(truth(r#"{"a":1,"b":2}"#, r#"{"b":3}"#), Some(false));
        assert_eq!(truth(r#"{"a":1,"b":2}"#, r#"{"b":2}"#), None);
        assert_eq!(truth(r#"{"$or":[{"a":1},{"b":2}]}"#, r#"{"b":2}"#), Some(true));
        assert_eq!(truth(r#"{"$or":[{"a":1},{"b":2}]}"#, r#"{"b":3}"#), None);
    }

    #[test]
    fn lists_follow_sql() {
        assert_eq!(truth(r#"{"a":{"$in":[]}}"#, "{}"), Some(false));
        assert_eq!(truth(r#"{"a":{"$nin":[]}}"#, "{}"), Some(true));
        assert_eq!(truth(r#"{"a":{"$in":[1,null]}}"#, r#"{"a":1}"#), Some(true));
        assert_eq!(truth(r#"{"a":{"$in":[1,null]}}"#, r#"{"a":2}"#), None);
        assert_eq!(truth(r#"{"a":{"$nin":[1,null]}}"#, r#"{"a":2}"#), None);
        assert_eq!(truth(r#"{"a":[1,"x"]}"#, r#"{"a":"x"}"#), Some(true));
    }

    #[test]
    fn negation_takes_all_of_its_fields() {
        let filter = r#"{"$not":{"id":{"$gte":3,"$lt":6}}}"#;
        let matching: Vec<i64> =
            (1..=10).filter(|id| truth(filter, &format!("{{\"id\":{id}}}")) == Some(true)).collect();
        assert_eq!(matching, [1, 2, 6, 7, 8, 9, 10]);
    }

    #[test]
    fn operands_fit_themselves_to_the_column() {
        assert_eq!(truth(r#"{"a":"5"}"#, r#"{"a":5}"#), Some(true));
        assert_eq!(truth(r#"{"a":"nope"}"#, r#"{"a":5}"#), Some(false));
        assert_eq!(truth(r#"{"a":{"$ne":"nope"}}"#, r#"{"a":5}"#), Some(true));
        assert_eq!(truth(r#"{"a":{"$gte":10.5}}"#, r#"{"a":10}"#), Some(false));
        assert_eq!(truth(r#"{"a":9007199254740993}"#, r#"{"a":9007199254740992}"#), Some(false));
        assert_eq!(truth(r#"{"a":{"$gt":10}}"#, r#"{"a":"9"}"#), Some(false));
        assert_eq!(truth(r#"{"a":true}"#, r#"{"a":1}"#), Some(true));
        assert_eq!(
            truth(r#"{"a":{"$gte":"2026-01-02"}}"#, r#"{"a":"2026-01-02T00:00:00.000Z"}"#),
            Some(true)
        );
        assert_eq!(
            truth(r#"{"a":"2026-01-02T01:00:00+01:00"}"#, r#"{"a":"2026-01-02T00:00:00.000Z"}"#),
            Some(true)
        );
    }

    #[test]
    fn a_known_kind_overrules_the_guess() {
        let text = || Schema::unknown().with("a", Kind::Text);
        assert_eq!(truth_of(text(), r#"{"a":{"$gt":10}}"#, r#"{"a":"9"}"#), Some(true));
        let uuid = Schema::unknown().with("a", Kind::Uuid);
        assert_eq!(truth_of(uuid, r#"{"a":"AB"}"#, r#"{"a":"ab"}"#), Some(true));
        let bytes = Schema::unknown().with("a", Kind::Bytes);
        assert_eq!(truth_of(bytes, r#"{"a":{"$lt":"/w=="}}"#, r#"{"a":"AQ=="}"#), Some(true));
    }

    #[test]
    fn a_list_passes_by_any_of_its_values_where_a_column_has_several() {
        let schema = || Schema::unknown().with_several("t", Kind::Text).with_several("n", Kind::Number);
        let row = r#"{"t":["a",["b"],null],"n":[1,"5"],"plain":["a","b"]}"#;
        for (filter, expected) in [
            (r#"{"t":"b"}"#, Some(true)),
            (r#"{"t":"c"}"#, Some(false)),
            (r#"{"t":{"$ne":"b"}}"#, Some(false)),
            (r#"{"t":{"$ne":"c"}}"#, Some(true)),
            (r#"{"$not":{"t":"b"}}"#, Some(false)),
            (r#"{"$not":{"t":"c"}}"#, Some(true)),
            (r#"{"t":{"$in":["x","a"]}}"#, Some(true)),
            (r#"{"t":{"$in":["x",null]}}"#, None),
            (r#"{"t":{"$nin":["a","x"]}}"#, Some(false)),
            (r#"{"t":{"$nin":["x","y"]}}"#, Some(true)),
            (r#"{"t":{"$nin":["x",null]}}"#, None),
            (r#"{"t":{"$contains":"B"}}"#, Some(true)),
            (r#"{"$not":{"t":{"$startsWith":"c"}}}"#, Some(true)),
            (r#"{"t":null}"#, Some(false)),
            (r#"{"t":{"$ne":null}}"#, Some(true)),
            (r#"{"n":5}"#, Some(true)),
            (r#"{"n":{"$gt":4}}"#, Some(true)),
            (r#"{"$not":{"n":{"$gt":4}}}"#, Some(false)),
            (r#"{"n":{"$lt":1}}"#, Some(false)),
            (r#"{"n":{"$gte":null}}"#, None),
            // A list that is a value equals nothing.
            (r#"{"plain":"a"}"#, Some(false)),
            (r#"{"plain":{"$ne":"a"}}"#, Some(true)),
        ] {
            assert_eq!(truth_of(schema(), filter, row), expected, "{filter}");
        }
        for empty in [r#"{"t":[]}"#, r#"{"t":[null]}"#] {
            assert_eq!(truth_of(schema(), r#"{"t":null}"#, empty), Some(true));
            assert_eq!(truth_of(schema(), r#"{"t":{"$ne":"b"}}"#, empty), None);
        }
    }

    #[test]
    fn string_operators_read_other_values_as_text() {
        assert_eq!(truth(r#"{"a":{"$startsWith":"12"}}"#, r#"{"a":125}"#), Some(true));
        assert_eq!(truth(r#"{"a":{"$contains":5}}"#, r#"{"a":"5"}"#), Some(false));
    }
}
