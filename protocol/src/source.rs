//! A database as a gateway knows it, and where its credentials are.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::Invalid;
use crate::json::{Kind, Object};

/// Sources of one runner. Their names are compared with one another.
const MAX_SOURCES: usize = 10_000;
const SOURCES: &str = "assignedSources";

/// A runner's sources as a frame lists them. An entry that cannot be read is left out, so that one wrong source does not take
/// the others with it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Assignments {
    /// The entries that can be read.
    pub sources: Vec<AssignedSource>,
    /// What is wrong with each of the others: `assignedSources[2].bridge`, and never a value.
    pub skipped: Vec<Invalid>,
}

impl Assignments {
    /// Reads `assignedSources`; nothing when the frame has no such field.
    pub(crate) fn read(object: &Object<'_>) -> Result<Option<Self>, Invalid> {
        let Some(raw) = object.get(SOURCES) else { return Ok(None) };
        let Kind::Array(items) = Kind::of(raw).map_err(|invalid| invalid.within(SOURCES))? else {
            return Err(Self::missing());
        };
        if items.len() > MAX_SOURCES {
            return Err(Invalid::new(SOURCES, format!("at most {MAX_SOURCES} sources")));
        }
        let mut read = Self::default();
        for (index, item) in items.into_iter().enumerate() {
            match AssignedSource::parse(item) {
                Ok(source) => read.sources.push(source),
                Err(invalid) => read.skipped.push(invalid.within(&format!("{SOURCES}[{index}]"))),
            }
        }
        Ok(Some(read))
    }

    /// The same for news, which take the place of what the runner has: a frame without a list, or with a list of which
    /// nothing can be read, would take every source from it.
    pub(crate) fn news(object: &Object<'_>) -> Result<Self, Invalid> {
        let read = Self::read(object)?.ok_or_else(Self::missing)?;
        match read.skipped.first() {
            Some(invalid) if read.sources.is_empty() => Err(invalid.clone()),
            _ => Ok(read),
        }
    }

    fn missing() -> Invalid {
        Invalid::new(SOURCES, "a list of assigned sources")
    }
}

impl From<Vec<AssignedSource>> for Assignments {
    fn from(sources: Vec<AssignedSource>) -> Self {
        Self { sources, skipped: Vec::new() }
    }
}

/// Where a source's credentials are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CredentialsLocation {
    /// The gateway keeps them and sends them with the assignment.
    Managed,
    /// They are in the runner's own environment and never leave it.
    RunnerLocal,
}

/// A source that a runner has been given.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AssignedSource {
    /// The source's id at the gateway.
    pub id: String,
    /// The name that jobs use.
    pub name: String,
    /// Package name of the bridge, or its short form.
    pub bridge: String,
    /// Where the credentials are.
    pub credentials_location: CredentialsLocation,
    /// The bridge's settings; only for managed sources.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<SourceConfig>,
}

impl AssignedSource {
    /// Reads one entry of `assignedSources`. Mistakes name the field and never repeat a value.
    pub fn parse(raw: &RawValue) -> Result<Self, Invalid> {
        let object = Object::parse(raw)?;
        let config = |raw: &RawValue| {
            serde_json::from_str(raw.get()).map_err(|_| Invalid::new("config", "an object of settings"))
        };
        Ok(Self {
            id: object.required_text("id")?,
            name: object.required_text("name")?,
            bridge: object.required_text("bridge")?,
            credentials_location: credentials_location(&object)?,
            config: object.get("config").map(config).transpose()?,
        })
    }
}

fn credentials_location(object: &Object<'_>) -> Result<CredentialsLocation, Invalid> {
    match object.text("credentialsLocation")?.as_deref() {
        Some("managed") => Ok(CredentialsLocation::Managed),
        Some("runner-local") => Ok(CredentialsLocation::RunnerLocal),
        _ => Err(Invalid::new("credentialsLocation", "managed or runner-local")),
    }
}

/// A bridge's settings as a JSON object. Holds credentials, so its `Debug` shows the names of the fields alone.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SourceConfig(Map<String, Value>);

impl SourceConfig {
    /// Wraps an object.
    pub fn new(fields: Map<String, Value>) -> Self {
        Self(fields)
    }

    /// The fields themselves. Never hand a value to a log, a message or a frame to the gateway.
    pub fn expose(&self) -> &Map<String, Value> {
        &self.0
    }

    /// The names of the fields that are set.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl fmt::Debug for SourceConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_names_and_no_values() {
        let json = r#"{"id":"1","name":"db","bridge":"postgres","credentialsLocation":"managed","config":{"password":"hunter2"}}"#;
        let source = AssignedSource::parse(serde_json::from_str(json).unwrap()).unwrap();
        let shown = format!("{source:?}");
        assert!(shown.contains("password") && !shown.contains("hunter2"), "{shown}");
        assert_eq!(serde_json::to_string(&source).unwrap(), json);
    }

    const GOOD: &str = r#"{"id":"1","name":"db","bridge":"postgres","credentialsLocation":"runner-local"}"#;
    const WRONG: &str = r#"{"id":"2","name":"other","bridge":7,"credentialsLocation":"managed","config":{"password":"hunter2"}}"#;

    fn decoded(kind: &str, sources: &[&str]) -> Result<Assignments, crate::FrameError> {
        let frame = format!(r#"{{"type":"{kind}","assignedSources":[{}]}}"#, sources.join(","));
        match crate::decode_gateway_frame(&frame)? {
            crate::Decoded::Frame(crate::GatewayFrame::HelloAck(ack)) => Ok(ack.assigned_sources),
            crate::Decoded::Frame(crate::GatewayFrame::AssignmentsChanged(assignments)) => Ok(assignments),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_entry_that_cannot_be_read_is_named_and_does_not_take_the_others_with_it() {
        for kind in ["hello-ack", "assignments-changed"] {
            let read = decoded(kind, &[GOOD, WRONG, "7", GOOD]).unwrap();
            assert_eq!(read.sources.len(), 2, "{kind}");
            let skipped: Vec<&str> = read.skipped.iter().map(|invalid| invalid.field.as_str()).collect();
            assert_eq!(skipped, ["assignedSources[1].bridge", "assignedSources[2]"], "{kind}");
            assert!(!format!("{read:?}").contains("hunter2"));
        }
    }

    #[test]
    fn a_runner_is_greeted_without_its_wrong_sources_and_keeps_what_it_has_when_all_news_are_wrong() {
        let read = decoded("hello-ack", &[WRONG]).unwrap();
        assert_eq!((read.sources.len(), read.skipped.len()), (0, 1));
        let refused = decoded("assignments-changed", &[WRONG]).unwrap_err();
        assert!(refused.to_string().contains("assignedSources[0].bridge"), "{refused}");
        assert_eq!(decoded("assignments-changed", &[]).unwrap(), Assignments::default());
    }
}
