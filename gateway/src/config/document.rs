//! Text of one of three formats as a [`Node`].

use super::Node;
use crate::error::{ConfigMistake, ConfigMistakes};

/// How a config is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JSON.
    Json,
    /// YAML 1.2, one document.
    Yaml,
    /// TOML.
    Toml,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 3] = [Self::Json, Self::Yaml, Self::Toml];

    /// The format of a file with this name; `None` for another ending.
    pub fn of_file(name: &str) -> Option<Self> {
        let (_, ending) = name.rsplit_once('.')?;
        match ending.to_ascii_lowercase().as_str() {
            "json" => Some(Self::Json),
            "yaml" | "yml" => Some(Self::Yaml),
            "toml" => Some(Self::Toml),
            _ => None,
        }
    }

    /// The format of a body with this `Content-Type`; `None` for another type.
    pub fn of_content_type(value: &str) -> Option<Self> {
        let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "application/json" => Some(Self::Json),
            "application/yaml" | "application/x-yaml" | "text/yaml" => Some(Self::Yaml),
            "application/toml" => Some(Self::Toml),
            _ => None,
        }
    }

    /// The `Content-Type` of the format.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Yaml => "application/yaml",
            Self::Toml => "application/toml",
        }
    }
}

/// Reads `text`. The one mistake that it may find says where in the text, and nothing of the text: it may hold passwords.
pub fn parse(text: &str, format: Format) -> Result<Node, ConfigMistakes> {
    let parsed = match format {
        Format::Json => serde_json::from_str(text)
            .map_err(|error| at(Some((error.line(), error.column())), &json_fault(&error))),
        Format::Yaml => serde_norway::from_str(text).map_err(|error| {
            let place = error.location().map(|place| (place.line(), place.column()));
            at(place, &yaml_fault(&error))
        }),
        Format::Toml => toml::from_str(text).map_err(|error| {
            let place = error.span().map(|span| line_and_column(text, span.start));
            at(place, error.message())
        }),
    };
    parsed.map_err(|message| ConfigMistakes(vec![ConfigMistake { path: String::new(), message }]))
}

fn json_fault(error: &serde_json::Error) -> String {
    match error.classify() {
        serde_json::error::Category::Eof => "not valid JSON: it ends too early".to_owned(),
        serde_json::error::Category::Syntax => "not valid JSON".to_owned(),
        serde_json::error::Category::Data | serde_json::error::Category::Io => {
            let text = error.to_string();
            text.split(" at line ").next().unwrap_or_default().to_owned()
        }
    }
}

/// The parser's own words where they are known to hold nothing of the text.
fn yaml_fault(error: &serde_norway::Error) -> String {
    const KNOWN: [&str; 7] = [
        "did not find expected",
        "could not find expected",
        "mapping values are not allowed",
        "block sequence entries are not allowed",
        "found",
        "unknown anchor",
        "deserializing from YAML containing more than one document",
    ];
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or_default();
    if let Some((_, key)) = text.split_once("the key \"") {
        return format!("the key \"{key}");
    }
    if text == "found character that cannot start any token" {
        return "not valid YAML: a tab, or another character that begins nothing (indent with blanks)"
            .to_owned();
    }
    if KNOWN.iter().any(|known| text.starts_with(known)) {
        return format!("not valid YAML: {text}");
    }
    "not valid YAML".to_owned()
}

fn at(place: Option<(usize, usize)>, message: &str) -> String {
    match place {
        Some((line, column)) => format!("line {line}, column {column}: {message}"),
        None => message.to_owned(),
    }
}

fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = r#"{"lenses":{"b":{"z":1,"a":[true,null,"x"]},"a":{}}}"#;

    #[test]
    fn the_three_formats_say_the_same_in_the_same_order() {
        let json = parse(JSON, Format::Json).unwrap();
        let yaml = "lenses:\n  b:\n    z: 1\n    a: [true, null, x]\n  a: {}\n";
        assert_eq!(parse(yaml, Format::Yaml).unwrap(), json);
        let toml = "[lenses.b]\nz = 1\na = 2\n[lenses.a]\n";
        let toml = parse(toml, Format::Toml).unwrap();
        let names = |node: &Node| -> Vec<String> {
            node.entries().unwrap().iter().map(|(key, _)| key.clone()).collect()
        };
        let lenses = |node: &Node| node.get("lenses").cloned().unwrap();
        assert_eq!(names(&lenses(&toml)), names(&lenses(&json)));
        assert_eq!(names(lenses(&toml).get("b").unwrap()), ["z", "a"]);
        assert_eq!(serde_json::to_string(&json).unwrap(), JSON);
    }

    #[test]
    fn a_key_that_is_there_twice_is_a_mistake_in_every_format() {
        for (text, format) in [
            (r#"{"a":1,"a":2}"#, Format::Json),
            ("a: 1\na: 2\n", Format::Yaml),
            ("a = 1\na = 2\n", Format::Toml),
        ] {
            let mistakes = parse(text, format).unwrap_err();
            let message = &mistakes.0[0].message;
            assert!(message.contains("line") && !message.contains("= 2"), "{message}");
        }
    }

    #[test]
    fn broken_text_is_placed_and_not_repeated() {
        for (text, format) in [
            ("{\"password\": \"hunter2\" \"x\"}", Format::Json),
            ("password: 'hunter2\nx", Format::Yaml),
            ("password = \"hunter2\" x", Format::Toml),
        ] {
            let shown = format!("{:?}", parse(text, format).unwrap_err());
            assert!(shown.contains("line ") && !shown.contains("hunter2"), "{shown}");
        }
    }

    #[test]
    fn a_mistake_in_yaml_is_said_in_the_parsers_words() {
        for (text, says) in [
            ("a:\n\tb: 1\n", "line 2, column 1: not valid YAML: a tab, or another character"),
            ("a: [1, 2\nb: {}\n", "line 2, column 2: not valid YAML: did not find expected ',' or ']'"),
            ("s: {a: 1, a: 2}", "line 1, column 4: the key \"a\" is there twice"),
            ("a: hunter2: c", "line 1, column 11: not valid YAML: mapping values are not allowed"),
            ("a: *hunter2", "line 1, column 4: not valid YAML: unknown anchor"),
            ("--- 1\n--- 2\n", "not valid YAML: deserializing from YAML containing more than one document"),
            ("a: !!int hunter2", "line 1, column 4: not valid YAML"),
        ] {
            let message = parse(text, Format::Yaml).unwrap_err().0.remove(0).message;
            assert!(message.starts_with(says) && !message.contains("hunter2"), "{text:?}: {message}");
        }
    }

    #[test]
    fn a_bomb_of_aliases_is_refused() {
        let mut yaml = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for level in 1..12 {
            let below = format!("*a{}", level - 1);
            let list = vec![below; 10].join(",");
            yaml.push_str(&format!("a{level}: &a{level} [{list}]\n"));
        }
        assert!(parse(&yaml, Format::Yaml).is_err());
    }

    #[test]
    fn deep_nesting_is_refused() {
        let deep = |open: &str, close: &str| open.repeat(100_000) + &close.repeat(100_000);
        assert!(parse(&deep("[", "]"), Format::Json).is_err());
        assert!(parse(&deep("[", "]"), Format::Yaml).is_err());
        assert!(parse(&format!("a = {}", deep("[", "]")), Format::Toml).is_err());
    }
}
