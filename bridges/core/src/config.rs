//! Reading a source's settings: aliases, either spelling of a number, every mistake at once.

use std::fmt;

use protocol::{Invalid, Secret, SourceConfig};
use serde_json::Value;

/// Everything that is wrong with a configuration. Names fields, never values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigMistakes(pub Vec<Invalid>);

impl fmt::Display for ConfigMistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigMistakes {}

/// Reads fields of a configuration and collects mistakes.
///
/// Each getter takes a field's names, the canonical one first; the first that is set counts. An empty text counts as not
/// set. Dots reach into objects: `pool.max`.
pub struct ConfigFields<'a> {
    config: &'a SourceConfig,
    mistakes: Vec<Invalid>,
}

impl<'a> ConfigFields<'a> {
    /// Begins to read.
    pub fn new(config: &'a SourceConfig) -> Self {
        Self { config, mistakes: Vec::new() }
    }

    /// Text. A number stands for its digits, because an environment variable of digits may have become one.
    pub fn text(&mut self, names: &[&str]) -> Option<String> {
        let (name, value) = self.value(names)?;
        let text = match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        self.expect(name, "text", text)
    }

    /// Text that must not be seen.
    pub fn secret(&mut self, names: &[&str]) -> Option<Secret> {
        self.text(names).map(Secret::from)
    }

    /// A whole number in `range`, as a number or as its digits.
    pub fn integer(&mut self, names: &[&str], range: std::ops::RangeInclusive<i64>) -> Option<i64> {
        let (name, value) = self.value(names)?;
        let number = match value {
            Value::Number(number) => number.as_i64(),
            Value::String(text) => text.parse().ok(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        self.expect(name, &expected, number.filter(|number| range.contains(number)))
    }

    /// A switch: true, false, 1, 0, yes or no.
    pub fn flag(&mut self, names: &[&str]) -> Option<bool> {
        let (name, value) = self.value(names)?;
        let flag = match value {
            Value::Bool(flag) => Some(*flag),
            Value::Number(number) => number.as_i64().and_then(|number| flag_of(&number.to_string())),
            Value::String(text) => flag_of(&text.to_ascii_lowercase()),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        };
        self.expect(name, "true or false", flag)
    }

    /// Notes a mistake that only the bridge can see.
    pub fn mistake(&mut self, field: &str, expected: impl Into<String>) {
        self.mistakes.push(Invalid::new(field, expected));
    }

    /// Ends with what the fields gave, or with every mistake.
    pub fn finish<T>(self, settings: T) -> Result<T, ConfigMistakes> {
        if self.mistakes.is_empty() { Ok(settings) } else { Err(ConfigMistakes(self.mistakes)) }
    }

    fn value(&self, names: &[&str]) -> Option<(String, &'a Value)> {
        let set = |name: &&str| self.lookup(name).map(|value| ((*name).to_owned(), value));
        names.iter().find_map(set)
    }

    fn lookup(&self, name: &str) -> Option<&'a Value> {
        let mut parts = name.split('.');
        let mut value = self.config.expose().get(parts.next()?)?;
        for part in parts {
            value = value.get(part)?;
        }
        let unset = value.is_null() || value.as_str().is_some_and(str::is_empty);
        (!unset).then_some(value)
    }

    fn expect<T>(&mut self, name: String, expected: &str, value: Option<T>) -> Option<T> {
        if value.is_none() {
            self.mistakes.push(Invalid::new(name, expected));
        }
        value
    }
}

fn flag_of(text: &str) -> Option<bool> {
    match text {
        "true" | "1" | "yes" => Some(true),
        "false" | "0" | "no" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(json: &str) -> SourceConfig {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn aliases_and_spellings_are_understood() {
        let config =
            config(r#"{"db":"app","port":"5433","password":123456,"ssl":"no","pool":{"max":5},"host":""}"#);
        let mut fields = ConfigFields::new(&config);
        assert_eq!(fields.text(&["database", "db"]).as_deref(), Some("app"));
        assert_eq!(fields.integer(&["port"], 1..=65_535), Some(5_433));
        assert_eq!(fields.secret(&["password"]).unwrap().expose(), "123456");
        assert_eq!(fields.flag(&["ssl"]), Some(false));
        assert_eq!(fields.integer(&["pool.max"], 1..=100), Some(5));
        assert_eq!(fields.text(&["host"]), None);
        assert_eq!(fields.finish(()), Ok(()));
    }

    #[test]
    fn every_mistake_is_reported_by_name_and_without_its_value() {
        let config = config(r#"{"host":["hunter2"],"port":"hunter2","ssl":"hunter2"}"#);
        let mut fields = ConfigFields::new(&config);
        fields.text(&["host"]);
        fields.integer(&["port"], 1..=65_535);
        fields.flag(&["ssl"]);
        let mistakes = fields.finish(()).unwrap_err().to_string();
        assert_eq!(
            mistakes,
            "host: expected text; port: expected a whole number from 1 to 65535; ssl: expected true or false"
        );
    }
}
