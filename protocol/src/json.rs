//! Reading untrusted JSON without losing anything: objects in their own order, duplicate keys refused, numbers as text.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::Invalid;

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

/// An object's entries, in their own order.
pub(crate) struct Object<'a> {
    entries: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a> Object<'a> {
    pub(crate) fn parse(raw: &'a RawValue) -> Result<Self, Invalid> {
        Self::from_text(raw.get())
    }

    pub(crate) fn from_text(text: &'a str) -> Result<Self, Invalid> {
        if !text.trim_start().starts_with('{') {
            return Err(Invalid::new("", "an object"));
        }
        let Entries(entries) = serde_json::from_str(text)
            .map_err(|error| Invalid::new("", format!("a valid JSON object ({error})")))?;
        Ok(Self { entries })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.entries.iter().map(|(key, value)| (key.as_ref(), *value))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The value of `key`; JSON `null` counts as absent, because callers write it for "not set".
    pub(crate) fn get(&self, key: &str) -> Option<&'a RawValue> {
        self.get_or_null(key).filter(|raw| raw.get() != "null")
    }

    pub(crate) fn get_or_null(&self, key: &str) -> Option<&'a RawValue> {
        self.entries.iter().find(|(name, _)| name == key).map(|(_, value)| *value)
    }

    pub(crate) fn text(&self, key: &str) -> Result<Option<String>, Invalid> {
        self.get(key).map(|raw| text(raw).map_err(|invalid| invalid.within(key))).transpose()
    }

    pub(crate) fn required_text(&self, key: &str) -> Result<String, Invalid> {
        self.text(key)?.ok_or_else(|| Invalid::new(key, "a string"))
    }

    pub(crate) fn boolean(&self, key: &str) -> Result<Option<bool>, Invalid> {
        match self.get(key).map(RawValue::get) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(Invalid::new(key, "true or false")),
        }
    }

    /// A whole number of at least 0. `5.0` is one; `"5"` and `-1` are not.
    pub(crate) fn whole(&self, key: &str) -> Result<Option<u64>, Invalid> {
        self.get(key).map(|raw| whole(raw).map_err(|invalid| invalid.within(key))).transpose()
    }

    pub(crate) fn finite(&self, key: &str) -> Result<Option<f64>, Invalid> {
        self.get(key).map(|raw| finite(raw).map_err(|invalid| invalid.within(key))).transpose()
    }

    pub(crate) fn texts(&self, key: &str) -> Result<Option<Vec<String>>, Invalid> {
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
    let number = crate::Number::parse(raw.get());
    let whole = number.and_then(|number| number.as_i64()).and_then(|number| u64::try_from(number).ok());
    whole.ok_or_else(|| Invalid::new("", "a whole number of at least 0"))
}

pub(crate) fn finite(raw: &RawValue) -> Result<f64, Invalid> {
    let number = crate::Number::parse(raw.get()).map(|number| number.as_f64());
    number.filter(|number| number.is_finite()).ok_or_else(|| Invalid::new("", "a finite number"))
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
                return Err(serde::de::Error::custom(format!("key \"{key}\" occurs twice")));
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
            items.push(item);
        }
        Ok(Items(items))
    }
}
