//! Reads JSON bodies field by field and collects everything that is wrong with them.
//!
//! An issue is `{code, path, message, …}` in the words of the validator that clients of this interface are used to.
//! A key that nobody knows is refused, with what may have been meant: a setting that was silently left out once ran
//! containers with a network that were to have none.

use std::collections::BTreeMap;
use std::fmt::Display;

use axum::body::Bytes;
use runtime::spelling::closest;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::refusal::Refusal;

/// One thing that is wrong with a body.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Issue {
    /// `invalid_type`, `too_small`, `too_big`, `unrecognized_keys`, `custom`, …
    pub(crate) code: &'static str,
    /// Where: names and indices.
    #[schema(value_type = Vec<String>)]
    pub(crate) path: Vec<Value>,
    /// For people.
    pub(crate) message: String,
    /// What else the code has to say: `expected`, `minimum`, `keys`, …
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub(crate) extra: Map<String, Value>,
}

impl Issue {
    /// A rule that has no code of its own.
    pub(crate) fn custom(path: Vec<Value>, message: impl Into<String>) -> Self {
        Self { code: "custom", path, message: message.into(), extra: Map::new() }
    }

    fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.extra.insert(key.to_owned(), value.into());
        self
    }
}

/// An object whose fields are taken one by one.
#[derive(Debug)]
pub(crate) struct Fields {
    at: Vec<Value>,
    left: BTreeMap<String, Box<RawValue>>,
    issues: Vec<Issue>,
}

impl Fields {
    /// The fields of a body; of an empty one when it may be absent.
    pub(crate) fn of_body(body: &Bytes, may_be_absent: bool) -> Result<Self, Refusal> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return if may_be_absent {
                Ok(Self::new(BTreeMap::new()))
            } else {
                Err(not_an_object("undefined"))
            };
        }
        let value: &RawValue = serde_json::from_slice(body).map_err(|error| Refusal::malformed(&error))?;
        match serde_json::from_str(value.get()) {
            Ok(fields) => Ok(Self::new(fields)),
            Err(_) => Err(not_an_object(kind_of(value.get()))),
        }
    }

    fn new(left: BTreeMap<String, Box<RawValue>>) -> Self {
        Self { at: Vec::new(), left, issues: Vec::new() }
    }

    /// Takes a field as it was written.
    pub(crate) fn raw(&mut self, name: &str) -> Option<Box<RawValue>> {
        self.left.remove(name)
    }

    /// Takes a field of a type that JSON has. `expected` names it as JavaScript does.
    pub(crate) fn typed<T: for<'de> Deserialize<'de>>(
        &mut self,
        name: &str,
        expected: &'static str,
    ) -> Option<T> {
        let raw = self.raw(name)?;
        let parsed = serde_json::from_str(raw.get()).ok();
        if parsed.is_none() {
            self.wrong_type(&[name.into()], expected, kind_of(raw.get()));
        }
        parsed
    }

    /// Takes a text of `range` characters.
    pub(crate) fn text(&mut self, name: &str, least: usize, most: usize) -> Option<String> {
        let text: String = self.typed(name, "string")?;
        self.length(&[name.into()], &text, least, most).then_some(text)
    }

    /// Takes a whole number within bounds.
    pub(crate) fn whole(&mut self, name: &str, least: u64, most: u64) -> Option<u64> {
        let number: f64 = self.typed(name, "number")?;
        if number.fract() != 0.0 {
            self.wrong_type(&[name.into()], "int", "float");
            return None;
        }
        let number = format!("{number:.0}").parse::<i128>().unwrap_or(i128::MAX);
        match u64::try_from(number) {
            Ok(number) if number < least => self.too_small(name, least),
            Ok(number) if number > most => self.too_big(name, most),
            Ok(number) => return Some(number),
            Err(_) if number < 0 => self.too_small(name, least),
            Err(_) => self.too_big(name, most),
        }
        None
    }

    /// Takes true or false.
    pub(crate) fn flag(&mut self, name: &str) -> Option<bool> {
        self.typed(name, "boolean")
    }

    /// Takes a list of texts, each of `least` to `most` characters.
    pub(crate) fn texts(
        &mut self,
        name: &str,
        items: usize,
        least: usize,
        most: usize,
    ) -> Option<Vec<String>> {
        let values: Vec<Value> = self.typed(name, "array")?;
        if values.len() > items {
            let message = format!("Array must contain at most {items} element(s)");
            self.note(
                Issue { code: "too_big", ..Issue::custom(vec![name.into()], message) }
                    .with("maximum", items)
                    .with("type", "array")
                    .with("inclusive", true),
            );
            return None;
        }
        let before = self.issues.len();
        let texts = values.into_iter().enumerate().filter_map(|(index, value)| {
            let path = [name.into(), index.into()];
            match value {
                Value::String(text) => self.length(&path, &text, least, most).then_some(text),
                other => {
                    self.wrong_type(&path, "string", kind_of(&other.to_string()));
                    None
                }
            }
        });
        let texts = texts.collect();
        (self.issues.len() == before).then_some(texts)
    }

    /// Takes an object of texts.
    pub(crate) fn map(&mut self, name: &str) -> Option<BTreeMap<String, String>> {
        let values: BTreeMap<String, Value> = self.typed(name, "object")?;
        let before = self.issues.len();
        let texts = values.into_iter().filter_map(|(key, value)| match value {
            Value::String(text) => Some((key, text)),
            other => {
                self.wrong_type(&[name.into(), key.into()], "string", kind_of(&other.to_string()));
                None
            }
        });
        let texts = texts.collect();
        (self.issues.len() == before).then_some(texts)
    }

    /// Takes an object, to be given back by [`close`](Self::close).
    pub(crate) fn object(&mut self, name: &str) -> Option<Self> {
        let left = self.typed(name, "object")?;
        Some(Self { at: vec![name.into()], left, issues: Vec::new() })
    }

    /// What was wrong with an object within.
    pub(crate) fn close(&mut self, within: Self, known: &[&str]) {
        if let Err(Refusal::BadRequest(issues)) = within.finish(known, &[]) {
            self.issues.extend(issues);
        }
    }

    /// Notes what a rule of the caller's has found.
    pub(crate) fn mistake(&mut self, path: &[&str], message: impl Into<String>) {
        let path = path.iter().map(|name| Value::from(*name)).collect();
        self.note(Issue::custom(path, message));
    }

    /// A field that must be there and is not.
    pub(crate) fn missing(&mut self, name: &str, expected: &'static str) {
        self.wrong_type(&[name.into()], expected, "undefined");
    }

    /// Whether nothing is wrong with any field so far.
    pub(crate) fn is_good(&self) -> bool {
        self.issues.is_empty()
    }

    /// Refuses what nobody has taken: `known` are the names that there are, `hints` say what else is to be used in place
    /// of a name of old. Then all that is wrong, if anything is.
    pub(crate) fn finish(mut self, known: &[&str], hints: &[(&str, &str)]) -> Result<(), Refusal> {
        let unknown: Vec<String> = std::mem::take(&mut self.left).into_keys().collect();
        for name in unknown {
            let shown: String = name.chars().take(100).collect();
            let hint = hints.iter().find(|(old, _)| *old == name).map(|(_, hint)| (*hint).to_owned());
            let meant = || closest(&name, known).map(|meant| format!("did you mean {meant}?"));
            let hint = hint.or_else(meant).map(|hint| format!("; {hint}")).unwrap_or_default();
            let message = format!("Unrecognized key(s) in object: '{shown}'{hint}");
            let issue = Issue { code: "unrecognized_keys", ..Issue::custom(Vec::new(), message) };
            self.note(issue.with("keys", vec![shown]));
        }
        if self.issues.is_empty() { Ok(()) } else { Err(Refusal::BadRequest(self.issues)) }
    }

    fn length(&mut self, path: &[Value], text: &str, least: usize, most: usize) -> bool {
        let length = text.encode_utf16().count();
        let (code, message, key, bound) = if length < least {
            ("too_small", format!("String must contain at least {least} character(s)"), "minimum", least)
        } else if length > most {
            ("too_big", format!("String must contain at most {most} character(s)"), "maximum", most)
        } else {
            return true;
        };
        let issue = Issue { code, ..Issue::custom(path.to_vec(), message) };
        self.note(issue.with(key, bound).with("type", "string").with("inclusive", true));
        false
    }

    fn too_small(&mut self, name: &str, least: u64) {
        let message = format!("Number must be greater than or equal to {least}");
        let issue = Issue { code: "too_small", ..Issue::custom(vec![name.into()], message) };
        self.note(issue.with("minimum", least).with("type", "number").with("inclusive", true));
    }

    fn too_big(&mut self, name: &str, most: u64) {
        let message = format!("Number must be less than or equal to {most}");
        let issue = Issue { code: "too_big", ..Issue::custom(vec![name.into()], message) };
        self.note(issue.with("maximum", most).with("type", "number").with("inclusive", true));
    }

    fn wrong_type(&mut self, path: &[Value], expected: &'static str, received: &str) {
        self.note(wrong_type(path.to_vec(), expected, received));
    }

    fn note(&mut self, mut issue: Issue) {
        /// What is wrong with more fields than these can be seen once these are right.
        const MOST: usize = 100;
        if self.issues.len() < MOST {
            issue.path.splice(0..0, self.at.iter().cloned());
            self.issues.push(issue);
        }
    }
}

/// JSON without the blanks between its parts, which is what a program that writes the value anew sends.
pub(crate) fn compact(json: &RawValue) -> Vec<u8> {
    let mut inside = false;
    let mut escaped = false;
    let kept = json.get().bytes().filter(|byte| {
        let keep = inside || !byte.is_ascii_whitespace();
        match byte {
            b'"' if !escaped => inside = !inside,
            _ => {}
        }
        escaped = inside && *byte == b'\\' && !escaped;
        keep
    });
    kept.collect()
}

fn not_an_object(received: &str) -> Refusal {
    Refusal::BadRequest(vec![wrong_type(Vec::new(), "object", received)])
}

fn wrong_type(path: Vec<Value>, expected: &'static str, received: impl Display) -> Issue {
    let received = received.to_string();
    let message = match received.as_str() {
        "undefined" => "Required".to_owned(),
        received => format!("Expected {expected}, received {received}"),
    };
    let issue = Issue { code: "invalid_type", ..Issue::custom(path, message) };
    issue.with("expected", expected).with("received", received)
}

/// What JavaScript calls the type of a JSON text.
fn kind_of(json: &str) -> &'static str {
    match json.trim_start().bytes().next() {
        Some(b'{') => "object",
        Some(b'[') => "array",
        Some(b'"') => "string",
        Some(b't' | b'f') => "boolean",
        Some(b'n') => "null",
        Some(_) => "number",
        None => "undefined",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(json: &Value) -> Fields {
        Fields::of_body(&json.to_string().into(), false).unwrap()
    }

    fn issues(fields: Fields) -> Value {
        match fields.finish(&["image", "timeout"], &[("setup", "it is called run now")]) {
            Ok(()) => json!([]),
            Err(Refusal::BadRequest(issues)) => json!(issues),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let mut body =
            fields(&json!({"image": "", "timeout": 1.5, "list": ["a", 1, ""], "map": {"K": null}}));
        assert_eq!(body.text("image", 1, 300), None);
        assert_eq!(body.whole("timeout", 1, 100), None);
        assert_eq!(body.texts("list", 3, 1, 5), None);
        assert_eq!(body.map("map"), None);
        body.missing("files", "object");
        let issues = issues(body);
        let told: Vec<(&str, &Value)> = issues
            .as_array()
            .unwrap()
            .iter()
            .map(|issue| (issue["code"].as_str().unwrap(), &issue["path"]))
            .collect();
        assert_eq!(
            told,
            [
                ("too_small", &json!(["image"])),
                ("invalid_type", &json!(["timeout"])),
                ("invalid_type", &json!(["list", 1])),
                ("too_small", &json!(["list", 2])),
                ("invalid_type", &json!(["map", "K"])),
                ("invalid_type", &json!(["files"])),
            ]
        );
    }

    #[test]
    fn numbers_are_whole_and_within_their_bounds() {
        for (number, taken) in [
            (json!(1), Some(1)),
            (json!(100), Some(100)),
            (json!(2.0), Some(2)),
            (json!(0), None),
            (json!(-1), None),
            (json!(101), None),
            (json!(1e300), None),
            (json!("5"), None),
        ] {
            let mut body = fields(&json!({"timeout": number}));
            assert_eq!(body.whole("timeout", 1, 100), taken, "{number}");
            assert_eq!(body.is_good(), taken.is_some());
        }
    }

    #[test]
    fn an_unknown_key_is_refused_with_what_was_meant() {
        let told = |key: &str| issues(fields(&json!({key: 1})))[0]["message"].as_str().unwrap().to_owned();
        assert!(told("setup").ends_with("it is called run now"));
        assert!(told("Image").ends_with("did you mean image?"));
        assert_eq!(told("banana"), "Unrecognized key(s) in object: 'banana'");
    }

    #[test]
    fn a_body_must_be_an_object_unless_it_may_be_absent() {
        for (body, expected) in [("[1]", "array"), ("\"a\"", "string"), ("", "undefined"), ("null", "null")] {
            let Err(Refusal::BadRequest(issues)) = Fields::of_body(&body.into(), false) else {
                panic!("{body}")
            };
            assert_eq!(issues[0].extra["received"], expected);
        }
        assert!(Fields::of_body(&" ".into(), true).unwrap().is_good());
        for body in ["{", "{\"a\":}", "{}x", "\u{feff}{}", &"[".repeat(100_000)] {
            assert!(
                matches!(Fields::of_body(&body.to_owned().into(), true), Err(Refusal::Framework(..))),
                "{}",
                &body[..3.min(body.len())]
            );
        }
    }

    #[test]
    fn input_is_sent_without_blanks_and_otherwise_as_it_was_written() {
        let compacted = |json: &str| {
            let raw: Box<RawValue> = serde_json::from_str(json).unwrap();
            String::from_utf8(compact(&raw)).unwrap()
        };
        assert_eq!(compacted(r#" {"b" : 1.50, "a": [ 1 , 2 ]} "#), r#"{"b":1.50,"a":[1,2]}"#);
        assert_eq!(compacted(r#"{"a b": "c \" d \\", "e" : " "}"#), r#"{"a b":"c \" d \\","e":" "}"#);
        assert_eq!(compacted("12345678901234567890123"), "12345678901234567890123");
    }
}
