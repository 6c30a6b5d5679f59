//! A JSON body as named fields. Whatever is wrong is a 400 that names the field and never repeats its value.

use axum::body::Bytes;
use protocol::SourceConfig;
use serde_json::Number;

use crate::api::error::ApiError;
use crate::config::{Format, Node, parse};

/// The fields of a body, each to be taken once.
pub(super) struct Fields {
    entries: Vec<(String, Node)>,
    asked: Vec<&'static str>,
}

impl Fields {
    /// Reads an object.
    pub(super) fn parse(body: &Bytes) -> Result<Self, ApiError> {
        let text = std::str::from_utf8(body).map_err(|_| ApiError::invalid("body", "UTF-8"))?;
        match parse(text, Format::Json) {
            Ok(Node::Map(entries)) => Ok(Self { entries, asked: Vec::new() }),
            Ok(Node::Null | Node::Bool(_) | Node::Number(_) | Node::Text(_) | Node::List(_)) => {
                Err(ApiError::invalid("body", "an object"))
            }
            Err(mistakes) => {
                let message = mistakes.0.first().map(|mistake| mistake.message.clone()).unwrap_or_default();
                Err(ApiError::invalid("body", &format!("valid JSON ({message})")))
            }
        }
    }

    pub(super) fn required_text(&mut self, key: &'static str) -> Result<String, ApiError> {
        self.text(key)?.ok_or_else(|| ApiError::invalid(key, "text"))
    }

    pub(super) fn text(&mut self, key: &'static str) -> Result<Option<String>, ApiError> {
        let read = |node| match node {
            Node::Text(text) => Some(text),
            Node::Null | Node::Bool(_) | Node::Number(_) | Node::List(_) | Node::Map(_) => None,
        };
        self.read(key, "text", read)
    }

    pub(super) fn whole_number(&mut self, key: &'static str) -> Result<Option<u64>, ApiError> {
        let read = |node| match node {
            Node::Number(number) => Number::as_u64(&number),
            Node::Null | Node::Bool(_) | Node::Text(_) | Node::List(_) | Node::Map(_) => None,
        };
        self.read(key, "a whole number", read)
    }

    pub(super) fn texts(&mut self, key: &'static str) -> Result<Option<Vec<String>>, ApiError> {
        let read = |node: Node| node.items()?.iter().map(|item| item.text().map(str::to_owned)).collect();
        self.read(key, "a list of texts", read)
    }

    /// An object of texts.
    pub(super) fn labels(
        &mut self,
        key: &'static str,
    ) -> Result<Option<std::collections::BTreeMap<String, String>>, ApiError> {
        let read = |node: Node| {
            let entries = node.entries()?.iter();
            entries.map(|(key, value)| Some((key.clone(), value.text()?.to_owned()))).collect()
        };
        self.read(key, "an object of texts", read)
    }

    /// An object of a bridge's settings.
    pub(super) fn config(&mut self, key: &'static str) -> Result<Option<SourceConfig>, ApiError> {
        let read = |node: Node| match node.to_json() {
            serde_json::Value::Object(fields) => Some(SourceConfig::new(fields)),
            _ => None,
        };
        self.read(key, "an object", read)
    }

    /// One of a few words.
    pub(super) fn word<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, ApiError> {
        let read = |node: Node| node.text().and_then(parse);
        self.read(key, expected, read)
    }

    /// Refuses what was not asked for.
    pub(super) fn finish(self) -> Result<(), ApiError> {
        match self.entries.first() {
            None => Ok(()),
            Some((key, _)) => {
                let key: String = key.chars().take(100).collect();
                Err(ApiError::invalid(&key, &format!("only the fields {}", self.asked.join(", "))))
            }
        }
    }

    /// `null` is the same as an absent field.
    fn read<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        read: impl FnOnce(Node) -> Option<T>,
    ) -> Result<Option<T>, ApiError> {
        self.asked.push(key);
        let Some(index) = self.entries.iter().position(|(name, _)| name == key) else { return Ok(None) };
        match self.entries.remove(index).1 {
            Node::Null => Ok(None),
            node => read(node).map(Some).ok_or_else(|| ApiError::invalid(key, expected)),
        }
    }
}
