//! Reads JSON bodies field by field and collects everything that is wrong with them.
//!
//! An issue is `{code, path, message, …}` in the words of the validator that clients of this interface are used to.
//! A key that nobody knows is refused, with what may have been meant: a setting that was silently left out once ran
//! containers with a network that were to have none. So is one that stands twice, of which only one could count.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display};

use axum::body::Bytes;
use runtime::spelling::closest;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::refusal::Refusal;

/// Keys that a body, or an object of settings in it, may have. There are far fewer that mean something.
const MOST_KEYS: usize = 1000;
/// Characters of a key that are shown.
const SHOWN: usize = 100;
/// Bytes of a value that is a number or a short word, in JSON.
const SCALAR_BYTES: usize = 64;

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
        let Some(read) = first(value, Entries(MOST_KEYS)) else {
            return Err(not_an_object(kind_of(value.get())));
        };
        let mut fields = Self::new(BTreeMap::new());
        fields.left = fields.all_of(&[], read, MOST_KEYS, "object").unwrap_or_default();
        Ok(fields)
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

    /// Takes a value that is a number or a short word.
    pub(crate) fn scalar(&mut self, name: &str, expected: &'static str) -> Option<Value> {
        let raw = self.raw(name)?;
        let parsed = Some(raw.get()).filter(|json| json.len() <= SCALAR_BYTES);
        let parsed = parsed.and_then(|json| serde_json::from_str(json).ok());
        if parsed.is_none() {
            self.wrong_type(&[name.into()], expected, kind_of(raw.get()));
        }
        parsed
    }

    /// Takes an object of at most so many entries, each as it was written.
    pub(crate) fn entries(&mut self, name: &str, most: usize) -> Option<BTreeMap<String, Box<RawValue>>> {
        self.first(name, Entries(most), most, "object")
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
        let values = self.first(name, Items(items), items, "array")?;
        let before = self.issues.len();
        let texts = values.into_iter().enumerate().filter_map(|(index, value)| {
            let path = [name.into(), index.into()];
            let text = self.own_text(&path, &value)?;
            self.length(&path, &text, least, most).then_some(text)
        });
        let texts = texts.collect();
        (self.issues.len() == before).then_some(texts)
    }

    /// Takes an object of at most so many texts.
    pub(crate) fn map(&mut self, name: &str, most: usize) -> Option<BTreeMap<String, String>> {
        let values = self.entries(name, most)?;
        let before = self.issues.len();
        let texts = values.into_iter().filter_map(|(key, value)| {
            let text = self.own_text(&[name.into(), key.as_str().into()], &value)?;
            Some((key, text))
        });
        let texts = texts.collect();
        (self.issues.len() == before).then_some(texts)
    }

    fn own_text(&mut self, path: &[Value], value: &RawValue) -> Option<String> {
        let text = serde_json::from_str(value.get()).ok();
        if text.is_none() {
            self.wrong_type(path, "string", kind_of(value.get()));
        }
        text
    }

    /// Takes what `seed` reads of a field: no more than `most` of what there is, or the field is wrong.
    fn first<T, S>(&mut self, name: &str, seed: S, most: usize, kind: &'static str) -> Option<T>
    where
        S: for<'a> DeserializeSeed<'a, Value = First<T>>,
    {
        let raw = self.raw(name)?;
        let Some(read) = first(&raw, seed) else {
            self.wrong_type(&[name.into()], kind, kind_of(raw.get()));
            return None;
        };
        self.all_of(&[name.into()], read, most, kind)
    }

    /// What was read at a place if that is all there is. A key that stands twice is wrong.
    fn all_of<T>(&mut self, path: &[Value], read: First<T>, most: usize, kind: &'static str) -> Option<T> {
        for key in read.repeated {
            let shown: String = key.chars().take(SHOWN).collect();
            let message = format!("'{shown}' is given more than once");
            self.note(Issue::custom([path, &[shown.into()]].concat(), message));
        }
        if read.count <= most {
            return Some(read.values);
        }
        let (noun, shown) = if kind == "array" { ("Array", "element(s)") } else { ("Object", "key(s)") };
        let message = format!("{noun} must contain at most {most} {shown}");
        self.note(
            Issue { code: "too_big", ..Issue::custom(path.to_vec(), message) }
                .with("maximum", most)
                .with("type", kind)
                .with("inclusive", true),
        );
        None
    }

    /// Takes an object, to be given back by [`close`](Self::close).
    pub(crate) fn object(&mut self, name: &str) -> Option<Self> {
        let left = self.entries(name, MOST_KEYS)?;
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
            let shown: String = name.chars().take(SHOWN).collect();
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

/// What `seed` reads of a value. None for one of another type.
fn first<'de, S: DeserializeSeed<'de>>(value: &'de RawValue, seed: S) -> Option<S::Value> {
    seed.deserialize(&mut serde_json::Deserializer::from_str(value.get())).ok()
}

/// The first parts of a list or an object, each as it was written. What a value would take in memory can be many times what
/// it takes in a body, so no more are kept than anybody wants.
struct First<T> {
    values: T,
    /// How many parts there are.
    count: usize,
    /// Keys that more than one of the first entries has.
    repeated: BTreeSet<String>,
}

/// The first entries of an object.
struct Entries(usize);

impl<'de> DeserializeSeed<'de> for Entries {
    type Value = First<BTreeMap<String, Box<RawValue>>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Entries {
    type Value = First<BTreeMap<String, Box<RawValue>>>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut values: BTreeMap<String, Box<RawValue>> = BTreeMap::new();
        let mut repeated = BTreeSet::new();
        let mut count = 0_usize;
        while count < self.0
            && let Some((key, value)) = map.next_entry()?
        {
            match values.entry(key) {
                Entry::Vacant(place) => {
                    place.insert(value);
                }
                Entry::Occupied(place) => {
                    repeated.insert(place.key().clone());
                }
            }
            count += 1;
        }
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
            count = count.saturating_add(1);
        }
        Ok(First { values, count, repeated })
    }
}

/// The first items of a list.
struct Items(usize);

impl<'de> DeserializeSeed<'de> for Items {
    type Value = First<Vec<Box<RawValue>>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Items {
    type Value = First<Vec<Box<RawValue>>>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut values = Vec::new();
        let mut count = 0_usize;
        while count < self.0
            && let Some(item) = list.next_element()?
        {
            values.push(item);
            count += 1;
        }
        while list.next_element::<IgnoredAny>()?.is_some() {
            count = count.saturating_add(1);
        }
        Ok(First { values, count, repeated: BTreeSet::new() })
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
        assert_eq!(body.map("map", 3), None);
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
    fn no_more_is_kept_than_anybody_wants() {
        let list = json!({"list": vec![0; 1000], "map": {"a": "1", "b": "2", "c": "3"}, "n": vec![0; 1000]});
        let mut body = fields(&list);
        assert_eq!(body.texts("list", 3, 1, 5), None);
        assert_eq!(body.map("map", 2), None);
        assert_eq!(body.scalar("n", "number"), None);
        let told = json!(body.issues);
        assert_eq!(told[0]["message"], "Array must contain at most 3 element(s)");
        assert_eq!(
            (&told[1]["message"], &told[1]["maximum"]),
            (&json!("Object must contain at most 2 key(s)"), &json!(2))
        );
        assert_eq!((told.as_array().unwrap().len(), &told[2]["received"]), (3, &json!("array")));
        let many: Map<String, Value> = (0..5000).map(|number| (number.to_string(), json!(0))).collect();
        let body = fields(&Value::Object(many));
        assert!(body.left.is_empty());
        let told = issues(body);
        assert_eq!(told[0]["message"], "Object must contain at most 1000 key(s)");
        assert_eq!((told.as_array().unwrap().len(), &told[0]["path"]), (1, &json!([])));
    }

    #[test]
    fn a_name_that_stands_twice_is_refused_wherever_it_stands() {
        let body = r#"{"timeout": 1, "map": {"A": "1", "A": "2", "B": "3"}, "timeout": 2, "timeout": 3,
            "within": {"x": "1", "x": "1"}}"#;
        let mut body = Fields::of_body(&body.into(), false).unwrap();
        assert!(!body.is_good());
        body.whole("timeout", 1, 100);
        body.map("map", 3);
        let within = body.object("within").map(|mut within| {
            within.text("x", 1, 5);
            within
        });
        body.close(within.unwrap(), &["x"]);
        let told = issues(body);
        let places: Vec<&Value> = told.as_array().unwrap().iter().map(|issue| &issue["path"]).collect();
        assert_eq!(places, [&json!(["timeout"]), &json!(["map", "A"]), &json!(["within", "x"])]);
        assert_eq!(told[1]["message"], "'A' is given more than once");
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
