//! What Redis holds, as rows.
//!
//! A key is a row. A string that holds a JSON object is that object's fields; any other string is `value`, as JSON where
//! it is JSON and as text otherwise. A hash is its fields, as text. Lists, sets, sorted sets and streams are `value` beside
//! `_type`. Every row has `_key`, which no stored field can take the place of, and `_base64` where it has bytes that are
//! not UTF-8. Elements of one list, set, sorted set, stream or hash are rows by the same rules.
//!
//! Rows are rendered as the text between the braces, once, into memory that is used again.

mod json;

use std::borrow::Cow;
use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bridge_core::{push_json_f64, push_json_str};
use protocol::Projection;

use self::json::{Found, Scan, push_compact};
use crate::wire::Reply;

/// The column that every row has: its key.
pub(crate) const KEY: &str = "_key";
/// The column of what is not an object.
pub(crate) const VALUE: &str = "value";
const TYPE: &str = "_type";
/// The score of an element of a sorted set; that of a ranked row has the same name and takes its place.
const SCORE: &str = protocol::SCORE;
const BASE64: &str = "_base64";
/// The longest text of a hash that is compared as a number.
const LONGEST_NUMBER: usize = 40;

/// A row before it is text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record<'a> {
    pub(crate) key: Key<'a>,
    /// Of an element of a sorted set.
    pub(crate) score: Option<&'a [u8]>,
    pub(crate) content: Content<'a>,
}

impl<'a> Record<'a> {
    /// The key, where it is text.
    pub(crate) fn key_text(&self) -> Option<&'a str> {
        match self.key {
            Key::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
            Key::Index(_) => None,
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Key<'a> {
    Bytes(&'a [u8]),
    /// The place in a list.
    Index(u64),
}

/// What is stored under a key.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Content<'a> {
    /// Not read: only keys are wanted.
    Unread,
    /// A string, or an element.
    Value(&'a [u8]),
    /// Names and values in turn: a hash, or an entry of a stream.
    Pairs(&'a [Reply]),
    /// A list, set, sorted set or stream as one value; or a type that this bridge does not read.
    Whole { kind: &'a str, reply: &'a Reply },
}

/// Who will read the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    /// The caller.
    Rows,
    /// Filters, orders and aggregates: fields of hashes that look like numbers are numbers.
    Values,
}

/// Which columns, and under which names.
#[derive(Debug, Clone)]
pub(crate) enum Shape {
    All,
    /// All but the key.
    Fields,
    /// The key of the output as JSON with its colon, and the column.
    Columns(Vec<(String, String)>),
}

impl Shape {
    pub(crate) fn new(projection: &Projection) -> Self {
        let Some(pairs) = projection.pairs() else { return Self::All };
        let column = |(output, column): (&str, &str)| {
            let mut key = String::new();
            push_json_str(&mut key, output);
            key.push(':');
            (key, column.to_owned())
        };
        Self::Columns(pairs.into_iter().map(column).collect())
    }
}

/// Renders records. Holds memory that is used again.
#[derive(Debug, Default)]
pub(crate) struct Renderer {
    scan: Scan,
    /// The names of a row's fields that are in base64.
    encoded: Vec<String>,
    /// Whether rows get a score of their own, so that no other may be in them.
    ranked: bool,
}

impl Renderer {
    /// For rows that get a score beside what they have.
    pub(crate) fn ranked() -> Self {
        Self { ranked: true, ..Self::default() }
    }

    /// Appends the row's text without its braces.
    pub(crate) fn render(&mut self, record: &Record<'_>, shape: &Shape, view: View, out: &mut String) {
        self.encoded.clear();
        let body = Body::read(record.content, &mut self.scan);
        let row = Row { record, body, scan: &self.scan, ranked: self.ranked };
        match shape {
            Shape::All => row.all(true, view, out, &mut self.encoded),
            Shape::Fields => row.all(false, view, out, &mut self.encoded),
            Shape::Columns(columns) => row.columns(columns, view, out, &mut self.encoded),
        }
    }

    /// The text of a JSON object that needs no rendering to be looked into: nobody asks for what the bridge adds.
    pub(crate) fn object<'a>(&mut self, record: &Record<'a>) -> Option<&'a str> {
        match Body::read(record.content, &mut self.scan) {
            Body::Object { text, plain: true } => Some(text),
            _ => None,
        }
    }
}

/// What a content turned out to be.
#[derive(Clone, Copy)]
enum Body<'a> {
    Nothing,
    Object {
        text: &'a str,
        plain: bool,
    },
    /// JSON, but no object.
    Json {
        text: &'a str,
        spaced: bool,
        number: bool,
    },
    /// Text that is not JSON, or no text at all.
    Bytes(&'a [u8]),
    Pairs(&'a [Reply]),
    Whole {
        kind: &'a str,
        reply: &'a Reply,
    },
}

impl<'a> Body<'a> {
    fn read(content: Content<'a>, scan: &mut Scan) -> Self {
        match content {
            Content::Unread => Self::Nothing,
            Content::Pairs(pairs) => Self::Pairs(pairs),
            Content::Whole { kind, reply } => Self::Whole { kind, reply },
            Content::Value(bytes) => {
                let Ok(text) = std::str::from_utf8(bytes) else { return Self::Bytes(bytes) };
                match scan.read(text) {
                    Some(Found::Object { plain }) => Self::Object { text, plain },
                    Some(Found::Value { spaced, number }) => Self::Json { text, spaced, number },
                    None => Self::Bytes(bytes),
                }
            }
        }
    }
}

/// One value of a row.
#[derive(Clone, Copy)]
enum Cell<'a> {
    Json {
        text: &'a str,
        spaced: bool,
    },
    /// A number that would lose digits as one.
    Digits(&'a str),
    /// Text, or base64.
    Bytes(&'a [u8]),
    /// The text of a hash's field, which may be meant as a number.
    Loose(&'a [u8]),
    Index(u64),
    Score(&'a [u8]),
    Whole {
        kind: &'a str,
        reply: &'a Reply,
    },
}

struct Row<'a, 'r> {
    record: &'r Record<'a>,
    body: Body<'a>,
    scan: &'r Scan,
    ranked: bool,
}

impl<'a> Row<'a, '_> {
    fn all(&self, with_key: bool, view: View, out: &mut String, encoded: &mut Vec<String>) {
        let start = out.len();
        if with_key {
            out.push_str("\"_key\":");
            note(self.key().push(view, out), KEY, encoded);
        }
        if let Body::Object { text, plain: true } = self.body
            && self.record.score.is_none()
            && !self.has_reserved(text)
        {
            let inside = text.trim_matches([' ', '\t', '\n', '\r']);
            let inside = inside.get(1..inside.len().saturating_sub(1)).unwrap_or_default();
            if !inside.is_empty() {
                push_comma(out, start);
                out.push_str(inside);
            }
        } else {
            self.each(&mut |name, cell| {
                push_comma(out, start);
                push_json_str(out, name);
                out.push(':');
                note(cell.push(view, out), name, encoded);
            });
        }
        if !encoded.is_empty() {
            push_comma(out, start);
            out.push_str("\"_base64\":");
            push_names(out, encoded);
        }
    }

    fn columns(&self, columns: &[(String, String)], view: View, out: &mut String, encoded: &mut Vec<String>) {
        for (index, (key, column)) in columns.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            out.push_str(key);
            if column == BASE64 && self.has_bytes() {
                self.push_encoded(out, encoded);
            } else if let Some(cell) = self.cell(column) {
                cell.push(view, out);
            } else {
                out.push_str("null");
            }
        }
    }

    /// The names of the fields in base64, or null.
    fn push_encoded(&self, out: &mut String, encoded: &mut Vec<String>) {
        let mut unused = String::new();
        note(self.key().push(View::Rows, &mut unused), KEY, encoded);
        self.each(&mut |name, cell| note(cell.push(View::Rows, &mut unused), name, encoded));
        if encoded.is_empty() {
            out.push_str("null")
        } else {
            push_names(out, encoded)
        }
        encoded.clear();
    }

    fn key(&self) -> Cell<'a> {
        match self.record.key {
            Key::Bytes(bytes) => Cell::Bytes(bytes),
            Key::Index(index) => Cell::Index(index),
        }
    }

    /// Whether the object itself has a field of a name that is ours.
    fn has_reserved(&self, text: &str) -> bool {
        self.scan.fields.iter().any(|field| self.is_reserved(self.scan.name(field, text)))
    }

    /// `_base64` is reserved only where it is said.
    fn is_reserved(&self, name: &str) -> bool {
        name == KEY
            || (name == SCORE && (self.ranked || self.record.score.is_some()))
            || (name == BASE64 && self.has_bytes())
    }

    /// Whether anything of the row is not text.
    fn has_bytes(&self) -> bool {
        let in_key = matches!(self.record.key, Key::Bytes(key) if !is_text(key));
        in_key
            || match self.body {
                Body::Nothing | Body::Object { .. } | Body::Json { .. } => false,
                Body::Bytes(bytes) => !is_text(bytes),
                Body::Pairs(pairs) => named(pairs).any(|(_, value)| !is_text(value)),
                Body::Whole { reply, .. } => has_bytes(reply),
            }
    }

    /// Every field but the key, in their own order.
    fn each(&self, visit: &mut dyn FnMut(&str, Cell<'a>)) {
        if let Some(score) = self.record.score.filter(|_| !self.ranked) {
            visit(SCORE, Cell::Score(score));
        }
        match self.body {
            Body::Nothing => {}
            Body::Object { text, .. } => {
                for field in &self.scan.fields {
                    let name = self.scan.name(field, text);
                    if !self.is_reserved(name) {
                        visit(name, object_cell(field, text));
                    }
                }
            }
            Body::Json { .. } | Body::Bytes(_) => visit(VALUE, self.value()),
            Body::Pairs(pairs) => {
                for (name, value) in named(pairs) {
                    if !self.is_reserved(&name) {
                        visit(&name, Cell::Loose(value));
                    }
                }
            }
            Body::Whole { kind, .. } => {
                visit(TYPE, Cell::Bytes(kind.as_bytes()));
                visit(VALUE, self.value());
            }
        }
    }

    /// The field of that name.
    fn cell(&self, name: &str) -> Option<Cell<'a>> {
        match (name, self.body) {
            (KEY, _) => Some(self.key()),
            (SCORE, _) if self.record.score.is_some() => self.record.score.map(Cell::Score),
            (_, Body::Nothing) => None,
            (_, Body::Object { text, .. }) => {
                let field = self.scan.fields.iter().find(|field| self.scan.name(field, text) == name)?;
                Some(object_cell(field, text))
            }
            (_, Body::Pairs(pairs)) => {
                let found = named(pairs).find(|(field, _)| field == name);
                found.map(|(_, value)| Cell::Loose(value))
            }
            (VALUE, Body::Json { .. } | Body::Bytes(_) | Body::Whole { .. }) => Some(self.value()),
            (TYPE, Body::Whole { kind, .. }) => Some(Cell::Bytes(kind.as_bytes())),
            (_, Body::Json { .. } | Body::Bytes(_) | Body::Whole { .. }) => None,
        }
    }

    fn value(&self) -> Cell<'a> {
        match self.body {
            Body::Json { text, number: true, .. } if !json::is_exact(text.trim()) => {
                Cell::Digits(text.trim())
            }
            Body::Json { text, spaced, .. } => Cell::Json { text: text.trim(), spaced },
            Body::Bytes(bytes) => Cell::Bytes(bytes),
            Body::Whole { kind, reply } => Cell::Whole { kind, reply },
            Body::Nothing | Body::Object { .. } | Body::Pairs(_) => {
                Cell::Json { text: "null", spaced: false }
            }
        }
    }
}

fn object_cell<'a>(field: &json::Field, text: &'a str) -> Cell<'a> {
    let value = field.value(text);
    if field.inexact { Cell::Digits(value) } else { Cell::Json { text: value, spaced: field.spaced } }
}

/// Names and values in turn; of those with one name the last, which an entry of a stream can have. A name that is not UTF-8
/// is shown with replacement characters.
fn named(pairs: &[Reply]) -> impl Iterator<Item = (Cow<'_, str>, &[u8])> {
    const FEW: usize = 48;
    let mut last: HashMap<Cow<'_, str>, usize> = HashMap::new();
    if pairs.len() > FEW {
        let names = pairs.iter().step_by(2).map(shown);
        last.extend(names.enumerate().map(|(index, name)| (name, index)));
    }
    pairs.chunks_exact(2).enumerate().filter_map(move |(index, pair)| {
        let (name, value) = pair.first().zip(pair.get(1))?;
        let (name, value) = (shown(name), value.bytes());
        let is_last = match last.get(&name) {
            Some(last) => *last == index,
            None => pairs.iter().step_by(2).skip(index + 1).all(|later| shown(later) != name),
        };
        is_last.then_some((name, value))
    })
}

fn shown(name: &Reply) -> Cow<'_, str> {
    String::from_utf8_lossy(name.bytes())
}

fn is_text(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok()
}

fn has_bytes(reply: &Reply) -> bool {
    !is_text(reply.bytes()) || reply.entries().iter().any(has_bytes)
}

/// A comma, unless nothing has been written since `start`.
fn push_comma(out: &mut String, start: usize) {
    if out.len() > start {
        out.push(',');
    }
}

fn note(in_base64: bool, name: &str, encoded: &mut Vec<String>) {
    if in_base64 {
        encoded.push(name.to_owned());
    }
}

impl Cell<'_> {
    /// Appends the value; returns whether it is in base64.
    fn push(self, view: View, out: &mut String) -> bool {
        match self {
            Self::Json { text, spaced: false } => out.push_str(text),
            Self::Json { text, spaced: true } => push_compact(out, text),
            // Filters compare every digit, as a number.
            Self::Digits(text) if view == View::Values => out.push_str(text),
            Self::Digits(text) => push_json_str(out, text),
            Self::Bytes(bytes) => return push_bytes(out, bytes),
            Self::Loose(bytes) if view == View::Values && is_number(bytes) => {
                out.push_str(std::str::from_utf8(bytes).unwrap_or("null"));
            }
            Self::Loose(bytes) => return push_bytes(out, bytes),
            Self::Index(index) => out.push_str(itoa::Buffer::new().format(index)),
            Self::Score(bytes) => push_score(out, bytes),
            Self::Whole { kind, reply } => return push_whole(out, kind, reply),
        }
        false
    }
}

fn push_bytes(out: &mut String, bytes: &[u8]) -> bool {
    match std::str::from_utf8(bytes) {
        Ok(text) => {
            push_json_str(out, text);
            false
        }
        Err(_) => {
            out.push('"');
            STANDARD.encode_string(bytes, out);
            out.push('"');
            true
        }
    }
}

/// A whole or decimal number as people write it. Exponents and leading zeros are rather the text of something else.
fn is_number(bytes: &[u8]) -> bool {
    let digits = bytes.strip_prefix(b"-").unwrap_or(bytes);
    let mut parts = digits.splitn(2, |byte| *byte == b'.');
    let is_digits = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    let whole = parts.next().unwrap_or_default();
    bytes.len() <= LONGEST_NUMBER
        && is_digits(whole)
        && (whole.len() == 1 || whole.first() != Some(&b'0'))
        && parts.next().is_none_or(is_digits)
}

/// A score is a double; `inf` and `-inf`, which JSON cannot say, are the texts `Infinity` and `-Infinity`.
fn push_score(out: &mut String, bytes: &[u8]) {
    match std::str::from_utf8(bytes).ok().and_then(|text| text.parse::<f64>().ok()) {
        Some(score) if score.is_infinite() => {
            out.push_str(if score > 0.0 { "\"Infinity\"" } else { "\"-Infinity\"" });
        }
        Some(score) => push_json_f64(out, score),
        None => out.push_str("null"),
    }
}

/// A collection as one value. Returns whether any of it is in base64.
fn push_whole(out: &mut String, kind: &str, reply: &Reply) -> bool {
    let entries = reply.entries();
    match kind {
        "list" | "set" => push_list(out, entries.iter(), |out, entry| push_element(out, entry.bytes())),
        "zset" => push_list(out, entries.chunks_exact(2), |out, pair| {
            let (member, score) = pair.first().zip(pair.get(1)).map_or((&[][..], &[][..]), bytes_of);
            out.push_str("{\"member\":");
            let encoded = push_bytes(out, member);
            out.push_str(",\"score\":");
            push_score(out, score);
            out.push('}');
            encoded
        }),
        "stream" => push_list(out, entries.iter(), |out, entry| {
            out.push_str("{\"_id\":");
            let mut encoded = push_bytes(out, entry.entries().first().map_or(&[], Reply::bytes));
            for (name, value) in named(entry.entries().get(1).map_or(&[], Reply::entries)) {
                if name != "_id" {
                    out.push(',');
                    push_json_str(out, &name);
                    out.push(':');
                    encoded |= push_bytes(out, value);
                }
            }
            out.push('}');
            encoded
        }),
        _ => {
            out.push_str("null");
            false
        }
    }
}

fn bytes_of<'a>((left, right): (&'a Reply, &'a Reply)) -> (&'a [u8], &'a [u8]) {
    (left.bytes(), right.bytes())
}

fn push_list<T>(
    out: &mut String,
    entries: impl Iterator<Item = T>,
    mut push: impl FnMut(&mut String, T) -> bool,
) -> bool {
    let mut encoded = false;
    out.push('[');
    for (index, entry) in entries.enumerate() {
        if index > 0 {
            out.push(',');
        }
        encoded |= push(out, entry);
    }
    out.push(']');
    encoded
}

/// An element within a value: JSON where it is JSON, by the rules of a string's value.
fn push_element(out: &mut String, bytes: &[u8]) -> bool {
    let mut scan = Scan::default();
    match Body::read(Content::Value(bytes), &mut scan) {
        Body::Object { text, plain: true } => out.push_str(text.trim()),
        Body::Object { text, .. } => push_compact(out, text),
        Body::Json { text, number: true, .. } if !json::is_exact(text.trim()) => {
            push_json_str(out, text.trim())
        }
        Body::Json { text, .. } => push_compact(out, text),
        Body::Nothing | Body::Bytes(_) | Body::Pairs(_) | Body::Whole { .. } => {
            return push_bytes(out, bytes);
        }
    }
    false
}

fn push_names(out: &mut String, names: &[String]) {
    push_list(out, names.iter(), |out, name| {
        push_json_str(out, name);
        false
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(content: Content<'_>, shape: &Shape, view: View) -> String {
        let mut out = String::new();
        let record = Record { key: Key::Bytes(b"t:1"), score: None, content };
        Renderer::default().render(&record, shape, view, &mut out);
        let row = format!("{{{out}}}");
        serde_json::from_str::<serde_json::Value>(&row).unwrap();
        row
    }

    fn row(value: &str) -> String {
        rendered(Content::Value(value.as_bytes()), &Shape::All, View::Rows)
    }

    fn bytes(text: &[u8]) -> Reply {
        Reply::Bytes(text.to_vec())
    }

    #[test]
    fn strings_are_objects_or_a_value() {
        assert_eq!(row(r#"{"a":1,"b":[{}]}"#), r#"{"_key":"t:1","a":1,"b":[{}]}"#);
        assert_eq!(row("{ \"a\" : [ 1 ] }\n"), r#"{"_key":"t:1","a":[1]}"#);
        assert_eq!(row("{}"), r#"{"_key":"t:1"}"#);
        assert_eq!(row("[1, 2]"), r#"{"_key":"t:1","value":[1,2]}"#);
        assert_eq!(row("42"), r#"{"_key":"t:1","value":42}"#);
        assert_eq!(row("007"), r#"{"_key":"t:1","value":"007"}"#);
        assert_eq!(row("null"), r#"{"_key":"t:1","value":null}"#);
        assert_eq!(row(""), r#"{"_key":"t:1","value":""}"#);
        assert_eq!(row("plain \"text\""), r#"{"_key":"t:1","value":"plain \"text\""}"#);
    }

    #[test]
    fn a_stored_key_cannot_pass_for_the_real_one() {
        assert_eq!(row(r#"{"_key":"other","a":1}"#), r#"{"_key":"t:1","a":1}"#);
        assert_eq!(row(r#"{"a":1,"\u005fkey":"other"}"#), r#"{"_key":"t:1","a":1}"#);
        let stored = [bytes(b"_key"), bytes(b"other"), bytes(b"a"), bytes(b"1")];
        assert_eq!(rendered(Content::Pairs(&stored), &Shape::All, View::Rows), r#"{"_key":"t:1","a":"1"}"#);
        let shape =
            Shape::new(&Projection::Columns(vec!["_key".to_owned(), "a".to_owned(), "none".to_owned()]));
        let projected = rendered(Content::Value(br#"{"_key":"other","a":1}"#), &shape, View::Rows);
        assert_eq!(projected, r#"{"_key":"t:1","a":1,"none":null}"#);
    }

    #[test]
    fn numbers_that_readers_would_round_are_text_to_callers_and_numbers_to_filters() {
        let stored = r#"{"big":9007199254740993,"ok":9007199254740991,"d":10.500000}"#;
        assert_eq!(
            row(stored),
            r#"{"_key":"t:1","big":"9007199254740993","ok":9007199254740991,"d":10.500000}"#
        );
        let values = rendered(Content::Value(stored.as_bytes()), &Shape::All, View::Values);
        assert!(values.contains(r#""big":9007199254740993,"#), "{values}");
        assert_eq!(row("-9223372036854775808"), r#"{"_key":"t:1","value":"-9223372036854775808"}"#);
    }

    #[test]
    fn fields_of_hashes_are_text_and_compare_as_numbers_where_they_look_like_one() {
        let hash: Vec<Reply> = ["price", "12.50", "zip", "01234", "id", "1e5", "n", "-3"]
            .map(|text| bytes(text.as_bytes()))
            .into();
        assert_eq!(
            rendered(Content::Pairs(&hash), &Shape::All, View::Rows),
            r#"{"_key":"t:1","price":"12.50","zip":"01234","id":"1e5","n":"-3"}"#
        );
        assert_eq!(
            rendered(Content::Pairs(&hash), &Shape::All, View::Values),
            r#"{"_key":"t:1","price":12.50,"zip":"01234","id":"1e5","n":-3}"#
        );
    }

    #[test]
    fn bytes_that_are_no_text_are_base64_and_marked() {
        assert_eq!(
            rendered(Content::Value(&[0xff, 0]), &Shape::All, View::Rows),
            r#"{"_key":"t:1","value":"/wA=","_base64":["value"]}"#
        );
        let hash = [bytes(b"a"), bytes(&[0xfe]), bytes(b"b"), bytes(b"text")];
        assert_eq!(
            rendered(Content::Pairs(&hash), &Shape::All, View::Rows),
            r#"{"_key":"t:1","a":"/g==","b":"text","_base64":["a"]}"#
        );
        let named = [bytes(b"_base64"), bytes(b"mine"), bytes(b"a"), bytes(&[0xfe])];
        let row = rendered(Content::Pairs(&named), &Shape::All, View::Rows);
        assert_eq!(row, r#"{"_key":"t:1","a":"/g==","_base64":["a"]}"#);
        let shape = Shape::new(&Projection::Columns(vec!["_base64".to_owned()]));
        assert_eq!(rendered(Content::Pairs(&named), &shape, View::Rows), r#"{"_base64":["a"]}"#);
        let shape = Shape::new(&Projection::Renamed(vec![
            ("mark".to_owned(), "_base64".to_owned()),
            ("b \"".to_owned(), "b".to_owned()),
        ]));
        assert_eq!(rendered(Content::Pairs(&hash), &shape, View::Rows), r#"{"mark":["a"],"b \"":"text"}"#);
    }

    #[test]
    fn of_fields_with_one_name_the_last_counts_in_streams_too() {
        let mut pairs = vec![bytes(b"a"), bytes(b"1"), bytes(b"b"), bytes(b"2"), bytes(b"a"), bytes(b"3")];
        assert_eq!(
            rendered(Content::Pairs(&pairs), &Shape::All, View::Rows),
            r#"{"_key":"t:1","b":"2","a":"3"}"#
        );
        let one = Shape::new(&Projection::Columns(vec!["a".to_owned()]));
        assert_eq!(rendered(Content::Pairs(&pairs), &one, View::Rows), r#"{"a":"3"}"#);
        for number in 0..100 {
            pairs.extend([bytes(format!("n{}", number % 60).as_bytes()), bytes(b"x")]);
        }
        let many: serde_json::Value =
            serde_json::from_str(&rendered(Content::Pairs(&pairs), &Shape::All, View::Rows)).unwrap();
        assert_eq!((many.as_object().unwrap().len(), &many["a"]), (63, &serde_json::json!("3")));
    }

    #[test]
    fn collections_are_one_value_with_their_type() {
        let whole = |kind: &str, reply: Reply| {
            rendered(Content::Whole { kind, reply: &reply }, &Shape::All, View::Rows)
        };
        let list = Reply::Array(vec![bytes(b"1"), bytes(b"{\"a\": 1}"), bytes(b"x")]);
        assert_eq!(whole("list", list), r#"{"_key":"t:1","_type":"list","value":[1,{"a":1},"x"]}"#);
        let zset = Reply::Array(vec![bytes(b"m"), bytes(b"1.5"), bytes(b"n"), bytes(b"inf")]);
        assert_eq!(
            whole("zset", zset),
            r#"{"_key":"t:1","_type":"zset","value":[{"member":"m","score":1.5},{"member":"n","score":"Infinity"}]}"#
        );
        let entry = Reply::Array(vec![bytes(b"1-0"), Reply::Array(vec![bytes(b"f"), bytes(b"v")])]);
        assert_eq!(
            whole("stream", Reply::Array(vec![entry])),
            r#"{"_key":"t:1","_type":"stream","value":[{"_id":"1-0","f":"v"}]}"#
        );
        assert_eq!(whole("ReJSON-RL", Reply::Null), r#"{"_key":"t:1","_type":"ReJSON-RL","value":null}"#);
    }
}
