//! The settings of a source.

use semilayer_plugin::{Kind, Mistake, Secret};
use serde::Deserialize;

use crate::kinds::kind_of;

/// Where the file is, and what is in it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Config {
    pub(crate) file_url: String,
    pub(crate) format: Option<Format>,
    pub(crate) table: Option<String>,
    pub(crate) columns: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) delimiter: Option<String>,
    pub(crate) header: Option<bool>,
    pub(crate) token: Option<Secret>,
}

/// What kind of file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// Fields with delimiters and quotes (RFC 4180).
    Csv,
    /// A JSON object a line.
    Ndjson,
}

impl Config {
    /// What serde cannot see.
    pub(crate) fn mistakes(&self) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        if !["http://", "https://"].iter().any(|scheme| self.file_url.starts_with(scheme)) {
            mistakes.push(Mistake::new("fileUrl", "a URL that begins with http:// or https://"));
        }
        if self.delimiter().is_none() {
            mistakes.push(Mistake::new("delimiter", "one character, or \"tab\""));
        }
        if self.declared().is_none() {
            mistakes.push(Mistake::new("columns", "a list like \"id:int64, name:text\""));
        }
        mistakes
    }

    /// The setting, or what the URL ends with; CSV when it says nothing.
    pub(crate) fn format(&self) -> Format {
        let extension = self.file_name().rsplit_once('.').map_or("", |(_, extension)| extension);
        let inferred = match extension.to_ascii_lowercase().as_str() {
            "ndjson" | "jsonl" => Format::Ndjson,
            _ => Format::Csv,
        };
        self.format.unwrap_or(inferred)
    }

    /// The setting, or the file's name without its extension.
    pub(crate) fn table(&self) -> String {
        let name = self.table.as_deref().unwrap_or_else(|| {
            let file = self.file_name();
            file.rsplit_once('.').map_or(file, |(stem, _)| stem)
        });
        if name.is_empty() { "file".to_owned() } else { name.to_owned() }
    }

    /// The byte between two fields; nothing when the setting is none.
    pub(crate) fn delimiter(&self) -> Option<u8> {
        match self.delimiter.as_deref() {
            None | Some("") => Some(b','),
            Some("tab" | "\\t") => Some(b'\t'),
            Some(text) => match text.as_bytes() {
                [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\r' | b'\n') => Some(*byte),
                _ => None,
            },
        }
    }

    /// Names and kinds that are said, in their order; nothing when the setting is none.
    pub(crate) fn declared(&self) -> Option<Vec<(String, Kind)>> {
        let entry = |entry: &str| {
            let (name, kind) = entry.trim().rsplit_once(':')?;
            Some((name.trim().to_owned(), kind_of(kind.trim())?))
        };
        self.columns.as_deref().map_or(Some(Vec::new()), |columns| {
            columns.split(',').filter(|part| !part.trim().is_empty()).map(entry).collect()
        })
    }

    /// The columns of the primary key.
    pub(crate) fn key(&self) -> Vec<&str> {
        let key = self.key.as_deref().unwrap_or_default();
        key.split(',').map(str::trim).filter(|name| !name.is_empty()).collect()
    }

    fn file_name(&self) -> &str {
        let (_, rest) = self.file_url.split_once("://").unwrap_or_default();
        let path = rest.split(['?', '#']).next().unwrap_or_default();
        path.split_once('/').map_or("", |(_, path)| path).rsplit('/').next().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(file_url: &str) -> Config {
        Config { file_url: file_url.to_owned(), ..Config::default() }
    }

    #[test]
    fn the_url_says_what_the_settings_leave_out() {
        for (url, table, format) in [
            ("https://x/a/people.csv", "people", Format::Csv),
            ("https://x/people.v2.NDJSON?key=a/b.csv", "people.v2", Format::Ndjson),
            ("https://x/log.jsonl#end", "log", Format::Ndjson),
            ("https://x/export", "export", Format::Csv),
            ("https://x/", "file", Format::Csv),
            ("https://example.com", "file", Format::Csv),
        ] {
            assert_eq!((at(url).table().as_str(), at(url).format()), (table, format), "{url}");
        }
    }

    #[test]
    fn every_mistake_is_named() {
        let config = Config {
            delimiter: Some(";;".to_owned()),
            columns: Some("id:integer".to_owned()),
            ..at("ftp://x/people.csv")
        };
        let fields: Vec<String> = config.mistakes().into_iter().map(|mistake| mistake.field).collect();
        assert_eq!(fields, ["fileUrl", "delimiter", "columns"]);
        let good = Config { columns: Some("a:b:int64, c : text,".to_owned()), ..at("https://x/") };
        assert_eq!(good.declared().unwrap(), [("a:b".to_owned(), Kind::Int64), ("c".to_owned(), Kind::Text)]);
        assert!(good.mistakes().is_empty());
    }
}
