//! Documents and filters made by chance, and what the filters mean: a list matches when one of its values does, a document
//! without a value is neither in a test nor in its negation.

use serde_json::{Map, Value as Json, json};

/// Chances that are the same each time: splitmix64.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % most as u64).unwrap()
    }

    fn one_of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }
}

/// A value in the form that compares as its column does.
#[derive(Debug, Clone, PartialEq, PartialOrd)]
pub(crate) enum Value {
    Text(String),
    Number(f64),
    Bool(bool),
}

/// A column: how it is mapped, and its values, each as a filter has it and in the forms that a document may have it in.
struct Column {
    name: &'static str,
    mapping: Json,
    choices: Vec<Choice>,
}

struct Choice {
    value: Value,
    operand: Json,
    stored: Vec<Json>,
}

pub(crate) struct Columns(Vec<Column>);

/// A document, and the values that it has in each column.
pub(crate) struct Document {
    pub(crate) stored: Json,
    values: Vec<Vec<Value>>,
}

pub(crate) enum Filter {
    Not(Box<Self>),
    All(Vec<Self>),
    Any(Vec<Self>),
    /// A column by its place and name, and a test.
    Test(usize, &'static str, Test),
}

pub(crate) enum Test {
    Equal(Option<Value>, Json),
    NotEqual(Option<Value>, Json),
    /// Operands, one of which may be null.
    In(Vec<Option<Value>>, Vec<Json>),
    NotIn(Vec<Option<Value>>, Vec<Json>),
    Compare(&'static str, Value, Json),
    Text(&'static str, String),
}

fn texts(choices: &[&str]) -> Vec<Choice> {
    let choice = |text: &&str| Choice {
        value: Value::Text((*text).to_owned()),
        operand: json!(text),
        stored: vec![json!(text)],
    };
    choices.iter().map(choice).collect()
}

fn numbers(choices: &[f64]) -> Vec<Choice> {
    let choice = |number: &f64| {
        let whole = number.fract() == 0.0;
        #[expect(clippy::cast_possible_truncation, reason = "the numbers are small")]
        let json = if whole { json!(*number as i64) } else { json!(number) };
        let stored = vec![json.clone(), json!(json.to_string())];
        Choice { value: Value::Number(*number), operand: json, stored }
    };
    choices.iter().map(choice).collect()
}

/// Days of January 2026, in these forms beside the one of operands.
fn dates(forms: impl Fn(u32) -> Vec<Json>) -> Vec<Choice> {
    let choice = |day: u32| Choice {
        value: Value::Number(day.into()),
        operand: json!(format!("2026-01-{day:02}T00:00:00.000Z")),
        stored: forms(day),
    };
    (1..6).map(choice).collect()
}

const WORDS: [&str; 14] = ["", "a", "b", "Ab", "ab", "aB", "a*b", "a?", "a\\b", "ä", "Ä", "10", "9", "a%_b"];

impl Columns {
    pub(crate) fn new() -> Self {
        let column = |name, mapping: Json, choices| Column { name, mapping, choices };
        let usual = |day: u32| {
            let millis = 1_767_225_600_000_i64 + i64::from(day - 1) * 86_400_000;
            vec![
                json!(format!("2026-01-{day:02}")),
                json!(format!("2026-01-{day:02}T01:30:00+01:30")),
                json!(millis),
                json!(millis.to_string()),
            ]
        };
        let own = |day: u32| vec![json!(format!("2026/01/{day:02}"))];
        let compact = |day: u32| vec![json!(format!("202601{day:02}"))];
        let long = ["short", "SHORT", "not short at all", "neither is this"];
        let title = json!({"type": "text", "fields": {"raw": {"type": "keyword", "ignore_above": 8}}});
        let booleans = [true, false].map(|value| Choice {
            value: Value::Bool(value),
            operand: json!(value),
            stored: vec![json!(value), json!(value.to_string())],
        });
        Self(vec![
            column("word", json!({"type": "keyword"}), texts(&WORDS)),
            column("title", title, texts(&long)),
            column("analysed", json!({"type": "text"}), texts(&WORDS)),
            column("hidden", json!({"type": "keyword", "index": false, "doc_values": false}), texts(&WORDS)),
            column("replaced", json!({"type": "keyword", "null_value": "b"}), texts(&WORDS)),
            column("whole", json!({"type": "integer"}), numbers(&[-2.0, -1.0, 0.0, 1.0, 5.0, 9.0, 10.0])),
            column("other", json!({"type": "long", "null_value": 5}), numbers(&[0.0, 5.0, 7.0])),
            column("double", json!({"type": "double"}), numbers(&[-1.5, 0.0, 0.25, 3.0, 10.0])),
            column("flag", json!({"type": "boolean"}), booleans.into()),
            column("at", json!({"type": "date"}), dates(usual)),
            column("day", json!({"type": "date", "format": "yyyy/MM/dd"}), dates(own)),
            column(
                "since",
                json!({"type": "date", "format": "yyyyMMdd", "null_value": "20260102"}),
                dates(compact),
            ),
            column("ip", json!({"type": "ip"}), texts(&["10.0.0.1", "10.0.0.2", "192.168.1.1"])),
        ])
    }

    /// The index that holds such documents.
    pub(crate) fn index(&self) -> Json {
        let mut properties: Map<String, Json> =
            self.0.iter().map(|column| (column.name.to_owned(), column.mapping.clone())).collect();
        properties.insert("body".to_owned(), json!({"type": "text"}));
        properties.insert("unordered".to_owned(), json!({"type": "keyword", "doc_values": false}));
        json!({"mappings": {"properties": properties}})
    }

    pub(crate) fn document(&self, chance: &mut Chance) -> Document {
        let mut stored = Map::new();
        let mut values = Vec::new();
        for column in &self.0 {
            let mut own = Vec::new();
            if let Some(json) = column.stored(chance, &mut own) {
                stored.insert(column.name.to_owned(), json);
            }
            values.push(own);
        }
        stored.insert("body".to_owned(), json!("in every document"));
        Document { stored: Json::Object(stored), values }
    }

    pub(crate) fn filter(&self, chance: &mut Chance, depth: usize) -> Filter {
        match chance.below(if depth == 0 { 4 } else { 8 }) {
            0..5 => {
                let place = chance.below(self.0.len());
                let column = &self.0[place];
                Filter::Test(place, column.name, column.test(chance))
            }
            5 => Filter::Not(Box::new(self.filter(chance, depth - 1))),
            kind => {
                let parts = (0..2).map(|_| self.filter(chance, depth - 1)).collect();
                if kind == 6 { Filter::All(parts) } else { Filter::Any(parts) }
            }
        }
    }
}

impl Column {
    /// What a document has in the column, if anything.
    fn stored(&self, chance: &mut Chance, values: &mut Vec<Value>) -> Option<Json> {
        let kind = chance.below(12);
        let mut one = |chance: &mut Chance| {
            // Of a list, OpenSearch does not say which values are too long for the index.
            let is_alone = self.name != "title" || kind > 6;
            let choice = chance.one_of(if is_alone { &self.choices } else { &self.choices[..2] });
            values.push(choice.value.clone());
            chance.one_of(&choice.stored).clone()
        };
        Some(match kind {
            0 => return None,
            1 => Json::Null,
            2 => json!([]),
            3 => json!([null]),
            4 => json!([one(chance)]),
            5 => json!([one(chance), one(chance)]),
            6 => json!([one(chance), null, [one(chance)], one(chance)]),
            _ => one(chance),
        })
    }

    fn test(&self, chance: &mut Chance) -> Test {
        let is_text = matches!(self.choices[0].value, Value::Text(_)) && self.name != "ip";
        let choice = chance.one_of(&self.choices);
        let (value, operand) = (choice.value.clone(), choice.operand.clone());
        let nothing = chance.below(4) == 0;
        match chance.below(if is_text { 10 } else { 6 }) {
            0 if nothing => Test::Equal(None, Json::Null),
            0 => Test::Equal(Some(value), operand),
            1 if nothing => Test::NotEqual(None, Json::Null),
            1 => Test::NotEqual(Some(value), operand),
            kind @ (2 | 3) => {
                let other = chance.one_of(&self.choices);
                let mut values = vec![Some(value), Some(other.value.clone())];
                let mut operands = vec![operand, other.operand.clone()];
                if nothing {
                    values.push(None);
                    operands.push(Json::Null);
                }
                if kind == 2 { Test::In(values, operands) } else { Test::NotIn(values, operands) }
            }
            4 | 5 => {
                let operator = *chance.one_of(&["$gt", "$gte", "$lt", "$lte"]);
                Test::Compare(operator, value, operand)
            }
            _ => {
                let operator = *chance.one_of(&["$contains", "$startsWith", "$endsWith", "$like", "$ilike"]);
                let patterns = ["a%", "%b", "A_", "%", "_", "a\\%\\_b", "%SHORT%", "a*b", "a?"];
                let is_pattern = operator.ends_with("like");
                let operand = if is_pattern { *chance.one_of(&patterns) } else { operand.as_str().unwrap() };
                Test::Text(operator, operand.to_owned())
            }
        }
    }
}

impl Filter {
    /// Whether a document is one that is asked for.
    pub(crate) fn holds(&self, document: &Document) -> bool {
        self.truth(document) == Some(true)
    }

    fn truth(&self, document: &Document) -> Option<bool> {
        let together = |parts: &[Self], decisive: bool| {
            let truths: Vec<Option<bool>> = parts.iter().map(|part| part.truth(document)).collect();
            if truths.contains(&Some(decisive)) {
                return Some(decisive);
            }
            if truths.contains(&None) { None } else { Some(!decisive) }
        };
        match self {
            Self::Not(part) => part.truth(document).map(|truth| !truth),
            Self::All(parts) => together(parts, false),
            Self::Any(parts) => together(parts, true),
            Self::Test(place, _, test) => test.truth(&document.values[*place]),
        }
    }

    pub(crate) fn json(&self) -> Json {
        let all = |parts: &[Self]| parts.iter().map(Self::json).collect::<Vec<Json>>();
        match self {
            Self::Not(part) => json!({"$not": part.json()}),
            Self::All(parts) => json!({"$and": all(parts)}),
            Self::Any(parts) => json!({"$or": all(parts)}),
            Self::Test(_, name, test) => json!({*name: test.json()}),
        }
    }
}

impl Test {
    fn truth(&self, values: &[Value]) -> Option<bool> {
        match self {
            Self::Equal(None, _) => return Some(values.is_empty()),
            Self::NotEqual(None, _) => return Some(!values.is_empty()),
            _ if values.is_empty() => return None,
            _ => {}
        }
        let any = |holds: &dyn Fn(&Value) -> bool| values.iter().any(holds);
        let among = |operands: &[Option<Value>]| match any(&|value| operands.contains(&Some(value.clone()))) {
            false if operands.contains(&None) => None,
            found => Some(found),
        };
        match self {
            Self::Equal(operand, _) => among(std::slice::from_ref(operand)),
            Self::NotEqual(operand, _) => among(std::slice::from_ref(operand)).map(|found| !found),
            Self::In(operands, _) => among(operands),
            Self::NotIn(operands, _) => among(operands).map(|found| !found),
            Self::Compare(operator, operand, _) => Some(any(&|value| match *operator {
                "$gt" => value > operand,
                "$gte" => value >= operand,
                "$lt" => value < operand,
                _ => value <= operand,
            })),
            Self::Text(operator, operand) => Some(any(&|value| match value {
                Value::Text(text) => is_like(operator, text, operand),
                Value::Number(_) | Value::Bool(_) => false,
            })),
        }
    }

    fn json(&self) -> Json {
        match self {
            Self::Equal(_, operand) => json!({"$eq": operand}),
            Self::NotEqual(_, operand) => json!({"$ne": operand}),
            Self::In(_, operands) => json!({"$in": operands}),
            Self::NotIn(_, operands) => json!({"$nin": operands}),
            Self::Compare(operator, _, operand) => json!({*operator: operand}),
            Self::Text(operator, operand) => json!({*operator: operand}),
        }
    }
}

fn is_like(operator: &str, text: &str, operand: &str) -> bool {
    let (lower, folded) = (text.to_lowercase(), operand.to_lowercase());
    match operator {
        "$contains" => lower.contains(&folded),
        "$startsWith" => lower.starts_with(&folded),
        "$endsWith" => lower.ends_with(&folded),
        "$like" => matches(&pieces(operand), &text.chars().collect::<Vec<_>>()),
        _ => matches(&pieces(&folded), &lower.chars().collect::<Vec<_>>()),
    }
}

/// A pattern's characters, each with whether it stands for itself.
fn pieces(pattern: &str) -> Vec<(char, bool)> {
    let mut characters = pattern.chars();
    let mut pieces = Vec::new();
    while let Some(character) = characters.next() {
        match character {
            '\\' => pieces.push((characters.next().unwrap_or('\\'), true)),
            wild @ ('%' | '_') => pieces.push((wild, false)),
            literal => pieces.push((literal, true)),
        }
    }
    pieces
}

fn matches(pieces: &[(char, bool)], text: &[char]) -> bool {
    match pieces {
        [] => text.is_empty(),
        [('%', false), rest @ ..] => (0..=text.len()).any(|from| matches(rest, &text[from..])),
        [(expected, is_literal), rest @ ..] => match text {
            [first, others @ ..] => (!is_literal || first == expected) && matches(rest, others),
            [] => false,
        },
    }
}
