//! A database as a gateway knows it, and where its credentials are.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::Invalid;
use crate::json::Object;

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
}
