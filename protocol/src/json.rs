//! Reading untrusted JSON without losing anything: objects in their own order, duplicate keys refused, numbers as text.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::Invalid;

/// Keys that one object may have. Frames, filters and rows have far fewer; an object of millions of short keys would take
/// twenty times its text in memory.
const MAX_KEYS: usize = 100_000;
/// Items that one list may have.
pub(crate) const MAX_ITEMS: usize = 1_000_000;
/// Characters of a name of the caller's own making that a message repeats.
const MAX_QUOTED: usize = 100;

/// What a JSON value is, one level deep.
pub(crate) enum Kind<'a> {
    Null,
    Bool(bool),
    Number(&'a str),
    Text(Cow<'a, str>),
    Array(Vec<&'a RawValue>),
    Object(Object<'a>),
}

impl<'a> Kind<'a> {
    /// Looks at `raw`. Fails only for an object with a key twice, or text that is not valid (a lone surrogate).
    pub(crate) fn of(raw: &'a RawValue) -> Result<Self, Invalid> {
        let text = raw.get();
        let parsed = match text.as_bytes().first() {
            Some(b'n') => Ok(Self::Null),
            Some(b't') => Ok(Self::Bool(true)),
            Some(b'f') => Ok(Self::Bool(false)),
            Some(b'"') => serde_json::from_str::<Text<'a>>(text).map(|text| Self::Text(text.0)),
            Some(b'[') => serde_json::from_str::<Items<'a>>(text).map(|items| Self::Array(items.0)),
            Some(b'{') => return Object::parse(raw).map(Self::Object),
            _ => Ok(Self::Number(text)),
        };
        parsed.map_err(|error| Invalid::new("", format!("valid JSON ({error})")))
    }
}

/// An object's entries in their own order, each still text: for readers that must name the field that is wrong, and for
/// rewriting rows without touching the values that stay.
pub struct Object<'a> {
    entries: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a> Object<'a> {
    /// Looks into an object; a key that occurs twice is a mistake.
    pub fn parse(raw: &'a RawValue) -> Result<Self, Invalid> {
        Self::from_text(raw.get())
    }

    /// Looks into the text of an object.
    pub fn from_text(text: &'a str) -> Result<Self, Invalid> {
        if !text.trim_start().starts_with('{') {
            return Err(Invalid::new("", "an object"));
        }
        let Entries(entries) = serde_json::from_str(text)
            .map_err(|error| Invalid::new("", format!("a valid JSON object ({error})")))?;
        Ok(Self { entries })
    }

    /// Keys and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.entries.iter().map(|(key, value)| (key.as_ref(), *value))
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The value of `key`; JSON `null` counts as absent, because callers write it for "not set".
    pub fn get(&self, key: &str) -> Option<&'a RawValue> {
        self.get_or_null(key).filter(|raw| raw.get() != "null")
    }

    pub(crate) fn get_or_null(&self, key: &str) -> Option<&'a RawValue> {
        self.entries.iter().find(|(name, _)| name == key).map(|(_, value)| *value)
    }

    /// A string.
    pub fn text(&self, key: &str) -> Result<Option<String>, Invalid> {
        self.get(key).map(|raw| text(raw).map_err(|invalid| invalid.within(key))).transpose()
    }

    /// A string that must be there.
    pub fn required_text(&self, key: &str) -> Result<String, Invalid> {
        self.text(key)?.ok_or_else(|| Invalid::new(key, "a string"))
    }

    /// `true` or `false`.
    pub fn boolean(&self, key: &str) -> Result<Option<bool>, Invalid> {
        match self.get(key).map(RawValue::get) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(Invalid::new(key, "true or false")),
        }
    }

    /// A whole number of at least 0. `5.0` is one; `"5"` and `-1` are not.
    pub fn whole(&self, key: &str) -> Result<Option<u64>, Invalid> {
        self.get(key).map(|raw| whole(raw).map_err(|invalid| invalid.within(key))).transpose()
    }

    /// A number of at least 0 without what stands behind its point: for figures that other programs measure in fractions.
    pub(crate) fn floor(&self, key: &str) -> Result<Option<u64>, Invalid> {
        self.get(key).map(|raw| floor(raw).map_err(|invalid| invalid.within(key))).transpose()
    }

    pub(crate) fn finite(&self, key: &str) -> Result<Option<f64>, Invalid> {
        self.get(key).map(|raw| finite(raw).map_err(|invalid| invalid.within(key))).transpose()
    }

    /// A list of strings.
    pub fn texts(&self, key: &str) -> Result<Option<Vec<String>>, Invalid> {
        self.list(key, "a list of strings", text)
    }

    /// A list whose items `read` understands; mistakes name the item.
    pub(crate) fn list<T, E: From<Invalid> + Within>(
        &self,
        key: &str,
        expected: &str,
        read: impl Fn(&'a RawValue) -> Result<T, E>,
    ) -> Result<Option<Vec<T>>, E> {
        let Some(raw) = self.get(key) else { return Ok(None) };
        let Kind::Array(items) = Kind::of(raw).map_err(|invalid| invalid.within(key))? else {
            return Err(Invalid::new(key, expected).into());
        };
        let read_at =
            |(index, raw)| read(raw).map_err(|error: E| error.within_key(&format!("{key}[{index}]")));
        items.into_iter().enumerate().map(read_at).collect::<Result<_, _>>().map(Some)
    }
}

/// An error that can be moved below a key.
pub(crate) trait Within {
    fn within_key(self, key: &str) -> Self;
}

impl Within for Invalid {
    fn within_key(self, key: &str) -> Self {
        self.within(key)
    }
}

impl Within for crate::RequestError {
    fn within_key(self, key: &str) -> Self {
        self.within(key)
    }
}

pub(crate) fn text(raw: &RawValue) -> Result<String, Invalid> {
    match Kind::of(raw)? {
        Kind::Text(text) => Ok(text.into_owned()),
        _ => Err(Invalid::new("", "a string")),
    }
}

pub(crate) fn whole(raw: &RawValue) -> Result<u64, Invalid> {
    let signed = || crate::Number::parse(raw.get())?.as_i64().and_then(|number| u64::try_from(number).ok());
    let whole = raw.get().parse().ok().or_else(signed);
    whole.ok_or_else(|| Invalid::new("", "a whole number of at least 0"))
}

/// Figures that stand in 32 bits here: beyond them is the most there may be.
pub(crate) fn saturated(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn floor(raw: &RawValue) -> Result<u64, Invalid> {
    let expected = || Invalid::new("", "a number of at least 0");
    let measured = || {
        let floor = finite(raw).ok()?.floor();
        // A double's text without fraction is exact, and refused where it does not fit.
        if floor == 0.0 { Some(0) } else { format!("{floor:.0}").parse().ok() }
    };
    whole(raw).ok().or_else(measured).ok_or_else(expected)
}

pub(crate) fn finite(raw: &RawValue) -> Result<f64, Invalid> {
    let number = crate::Number::parse(raw.get()).map(|number| number.as_f64());
    number.filter(|number| number.is_finite()).ok_or_else(|| Invalid::new("", "a finite number"))
}

/// The beginning of a name that somebody else made up, for messages.
pub(crate) fn quoted(name: &str) -> String {
    name.chars().take(MAX_QUOTED).collect()
}

/// Appends `text` as a JSON string.
pub(crate) fn push_text(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if control < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(control))),
            other => out.push(other),
        }
    }
    out.push('"');
}

struct Entries<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Entries<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntriesVisitor)
    }
}

struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = Entries<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut entries: Vec<(Cow<'de, str>, &'de RawValue)> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        while let Some((Text(key), value)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
            // Two values for one key mean different things to different parsers; a filter must not be ambiguous.
            if !seen.insert(key.clone()) {
                return Err(serde::de::Error::custom(format!("key \"{}\" occurs twice", quoted(&key))));
            }
            if entries.len() == MAX_KEYS {
                return Err(serde::de::Error::custom(format!("more than {MAX_KEYS} keys")));
            }
            entries.push((key, value));
        }
        Ok(Entries(entries))
    }
}

/// A string, borrowed where it has no escapes.
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor).map(Text)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

struct Items<'a>(Vec<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Items<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ItemsVisitor)
    }
}

struct ItemsVisitor;

impl<'de> Visitor<'de> for ItemsVisitor {
    type Value = Items<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<Self::Value, S::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element::<&'de RawValue>()? {
            if items.len() == MAX_ITEMS {
                return Err(serde::de::Error::custom(format!("more than {MAX_ITEMS} items")));
            }
            items.push(item);
        }
        Ok(Items(items))
    }
}
