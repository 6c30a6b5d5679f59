//! What the two ends may add to version 1 of the socket, offered in `hello` and confirmed in `hello-ack`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One negotiated addition. A side never sends what was not confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Extension {
    /// `flow/1`: per-job credit in bytes of row payload.
    Flow,
    /// `drain/1`: the runner announces that it is about to stop.
    Drain,
    /// `trace/1`: W3C trace context in jobs.
    Trace,
    /// `resume/1`: instance ids, running jobs in `hello`, chunk sequence numbers.
    Resume,
    /// `stats/1`: slots and pools in heartbeats.
    Stats,
    /// `project/1`: the bridge renames columns, `options.project`.
    Project,
    /// `keyset/1`: the bridge pages `query` jobs by key, `options.keyset` and `options.cursor`.
    Keyset,
    /// `bridges/1`: a heartbeat names the runner's bridges when they are others than in `hello`.
    Bridges,
    /// `exec/1`: shell jobs.
    Exec,
}

impl Extension {
    /// Every extension that this build knows.
    pub const ALL: [Self; 9] = [
        Self::Flow,
        Self::Drain,
        Self::Trace,
        Self::Resume,
        Self::Stats,
        Self::Project,
        Self::Keyset,
        Self::Bridges,
        Self::Exec,
    ];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Flow => "flow/1",
            Self::Drain => "drain/1",
            Self::Trace => "trace/1",
            Self::Resume => "resume/1",
            Self::Stats => "stats/1",
            Self::Project => "project/1",
            Self::Keyset => "keyset/1",
            Self::Bridges => "bridges/1",
            Self::Exec => "exec/1",
        }
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// A set of extensions. On the wire a list of names; names that are not known are passed over.
#[derive(Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "Vec<String>", into = "Vec<String>")]
pub struct Extensions(u16);

impl Extensions {
    /// No extension: plain version 1.
    pub const NONE: Self = Self(0);

    /// Every extension that this build knows.
    pub fn all() -> Self {
        Extension::ALL.into_iter().collect()
    }

    /// Whether `extension` is in the set.
    pub const fn has(self, extension: Extension) -> bool {
        self.0 & extension.bit() != 0
    }

    /// What both sides have.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The set without `extension`.
    #[must_use]
    pub const fn without(self, extension: Extension) -> Self {
        Self(self.0 & !extension.bit())
    }

    /// Whether nothing is in the set.
    pub const fn is_empty(&self) -> bool {
        self.0 == 0
    }

    /// The members, in the order of [`Extension::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Extension> {
        Extension::ALL.into_iter().filter(move |extension| self.has(*extension))
    }
}

/// The names, as on the wire.
impl fmt::Debug for Extensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Extension::as_str)).finish()
    }
}

impl FromIterator<Extension> for Extensions {
    fn from_iter<I: IntoIterator<Item = Extension>>(extensions: I) -> Self {
        Self(extensions.into_iter().fold(0, |bits, extension| bits | extension.bit()))
    }
}

impl From<Vec<String>> for Extensions {
    fn from(names: Vec<String>) -> Self {
        let known = |name: &String| Extension::ALL.into_iter().find(|extension| extension.as_str() == name);
        names.iter().filter_map(known).collect()
    }
}

impl From<Extensions> for Vec<String> {
    fn from(extensions: Extensions) -> Self {
        extensions.iter().map(|extension| extension.as_str().to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_names_are_passed_over() {
        let extensions: Extensions = serde_json::from_str(r#"["flow/1","warp/9","stats/1"]"#).unwrap();
        assert_eq!(extensions.iter().collect::<Vec<_>>(), [Extension::Flow, Extension::Stats]);
        assert_eq!(serde_json::to_string(&extensions).unwrap(), r#"["flow/1","stats/1"]"#);
    }
}
