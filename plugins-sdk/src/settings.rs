//! A source's settings become a plugin's own type.
//!
//! serde's usual errors quote the value that did not fit; here that may be a password. So mistakes are made of the key
//! and of what was expected, and of nothing else.

use std::cell::RefCell;
use std::fmt::{self, Display};

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{self, DeserializeOwned, Deserializer, IntoDeserializer, Visitor};
use serde_json::{Map, Value};

use crate::description::Mistake;

/// Reads a configuration.
pub(crate) fn parse<C: DeserializeOwned>(config: &str) -> Result<C, Mistake> {
    let settings: Map<String, Value> =
        serde_json::from_str(config).map_err(|_| Mistake::new("", "a JSON object"))?;
    let current = RefCell::new(String::new());
    let entries = settings.into_iter().map(|(key, value)| {
        current.replace(key.clone());
        (key, Setting(value))
    });
    C::deserialize(Object(MapDeserializer::new(entries))).map_err(|wrong| Mistake {
        field: wrong.field.unwrap_or_else(|| current.take()),
        expected: wrong.expected,
    })
}

/// What was expected instead.
#[derive(Debug)]
struct Wrong {
    /// The setting, where it is not the one that was just read.
    field: Option<String>,
    expected: String,
}

impl Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}", self.expected)
    }
}

impl std::error::Error for Wrong {}

impl de::Error for Wrong {
    fn custom<T: Display>(message: T) -> Self {
        Self { field: None, expected: message.to_string() }
    }

    fn invalid_type(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::custom(expected)
    }

    fn invalid_value(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::custom(expected)
    }

    fn invalid_length(_: usize, expected: &dyn de::Expected) -> Self {
        Self::custom(expected)
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::custom(format!("one of {}", expected.join(", ")))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self {
            field: Some(field.to_owned()),
            expected: format!("one of the settings {}", expected.join(", ")),
        }
    }

    fn missing_field(field: &'static str) -> Self {
        Self { field: Some(field.to_owned()), expected: "a value".to_owned() }
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self { field: Some(field.to_owned()), expected: "one value".to_owned() }
    }
}

/// All settings.
struct Object<'de, I: Iterator<Item = (String, Setting)>>(MapDeserializer<'de, I, Wrong>);

impl<'de, I: Iterator<Item = (String, Setting)>> Deserializer<'de> for Object<'de, I> {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_map(self.0)
    }

    /// A plugin without settings may say so with `()`.
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// One value.
struct Setting(Value);

impl<'de> IntoDeserializer<'de, Wrong> for Setting {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Setting {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(value),
            Value::Number(number) => visit_number(&number, visitor),
            Value::String(text) => visitor.visit_string(text),
            Value::Array(items) => visitor.visit_seq(SeqDeserializer::new(items.into_iter().map(Setting))),
            Value::Object(entries) => {
                let entries = entries.into_iter().map(|(key, value)| (key, Setting(value)));
                visitor.visit_map(MapDeserializer::new(entries))
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        match self.0 {
            Value::String(text) => visitor.visit_enum(IntoDeserializer::<Wrong>::into_deserializer(text)),
            // Variants with content are for serde_json, whose errors are then told without their words.
            other => other
                .deserialize_enum(name, variants, visitor)
                .map_err(|_| de::Error::custom(format!("one of {}", variants.join(", ")))),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq
        tuple tuple_struct map struct identifier ignored_any
    }
}

fn visit_number<'de, V: Visitor<'de>>(number: &serde_json::Number, visitor: V) -> Result<V::Value, Wrong> {
    if let Some(value) = number.as_u64() {
        visitor.visit_u64(value)
    } else if let Some(value) = number.as_i64() {
        visitor.visit_i64(value)
    } else {
        visitor.visit_f64(number.as_f64().unwrap_or(f64::NAN))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Config {
        base_url: String,
        port: Option<u16>,
        #[serde(default)]
        mode: Mode,
        #[serde(default)]
        tags: Vec<String>,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Mode {
        #[default]
        Fast,
        Safe,
    }

    fn mistake(config: &str) -> (String, String) {
        let mistake = parse::<Config>(config).unwrap_err();
        (mistake.field, mistake.expected)
    }

    #[test]
    fn settings_become_the_plugins_own_type() {
        let config =
            r#"{"baseUrl": "https://x", "port": 80, "mode": "safe", "tags": ["a"], "other": {"b": 1}}"#;
        let expected = Config {
            base_url: "https://x".to_owned(),
            port: Some(80),
            mode: Mode::Safe,
            tags: vec!["a".to_owned()],
        };
        assert_eq!(parse::<Config>(config).unwrap(), expected);
        let least = parse::<Config>(r#"{"baseUrl": "", "port": null}"#).unwrap();
        assert_eq!((least.port, least.mode), (None, Mode::Fast));
        parse::<()>(r#"{"anything": 1}"#).unwrap();
    }

    #[test]
    fn a_mistake_names_the_setting_and_never_its_value() {
        let mistakes = [
            (r#"{"port": 1}"#, "baseUrl", "a value"),
            (r#"{"baseUrl": "x", "port": "hunter2"}"#, "port", "u16"),
            (r#"{"baseUrl": "x", "port": 70000}"#, "port", "u16"),
            (r#"{"baseUrl": "x", "port": -1}"#, "port", "u16"),
            (r#"{"baseUrl": 5}"#, "baseUrl", "a string"),
            (r#"{"baseUrl": "x", "mode": "hunter2"}"#, "mode", "one of fast, safe"),
            (r#"{"baseUrl": "x", "mode": 7}"#, "mode", "one of fast, safe"),
            (r#"{"baseUrl": "x", "tags": [1]}"#, "tags", "a string"),
            ("[]", "", "a JSON object"),
        ];
        for (config, field, expected) in mistakes {
            assert_eq!(mistake(config), (field.to_owned(), expected.to_owned()), "{config}");
        }
    }
}
