//! What a runner may do beside queries, and what a key may ask for.
//!
//! Both are closed lists of words. What a runner may do is decided twice: operators say it here, the runner's own settings
//! say it there, and only what both say is done.

use std::fmt;
use std::str::FromStr;

/// One thing that a runner may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Capability {
    /// `exec.readonly`: commands that look and change nothing, on the runner's host, without a shell.
    ExecReadonly,
    /// `exec.full`: any command on the runner's host.
    ExecFull,
    /// `docker`: the Docker client among the commands that look and change nothing.
    Docker,
    /// `sandbox`: any command in a container of its own.
    Sandbox,
}

impl Capability {
    /// Every capability, in the order in which lists show them.
    pub const ALL: [Self; 4] = [Self::ExecReadonly, Self::ExecFull, Self::Docker, Self::Sandbox];

    /// The word in the store and in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ExecReadonly => "exec.readonly",
            Self::ExecFull => "exec.full",
            Self::Docker => "docker",
            Self::Sandbox => "sandbox",
        }
    }

    const fn bit(self) -> u8 {
        match self {
            Self::ExecReadonly => 1,
            Self::ExecFull => 2,
            Self::Docker => 4,
            Self::Sandbox => 8,
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of capabilities.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CapabilitySet(u8);

impl CapabilitySet {
    /// Nothing at all.
    pub const NONE: Self = Self(0);

    /// The set of these words. Blanks around a word do not count, nor does its repetition.
    pub fn parse<S: AsRef<str>>(words: &[S]) -> Result<Self, UnknownWord> {
        words.iter().map(|word| word_of(&Capability::ALL, Capability::as_str, word.as_ref())).collect()
    }

    /// Whether `capability` is in the set.
    pub const fn has(self, capability: Capability) -> bool {
        self.0 & capability.bit() != 0
    }

    /// Whether nothing is in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// What is in both sets once they are [closed](Self::closed), so that `exec.full` on one side meets `exec.readonly` on the
    /// other.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.closed().0 & other.closed().0)
    }

    /// The set with what its members contain: who may run any command may run those that only look.
    #[must_use]
    pub const fn closed(self) -> Self {
        if self.has(Capability::ExecFull) { Self(self.0 | Capability::ExecReadonly.bit()) } else { self }
    }

    /// What is in either set.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The members, in the order of [`Capability::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        Capability::ALL.into_iter().filter(move |capability| self.has(*capability))
    }

    /// The members' words.
    pub fn words(self) -> Vec<&'static str> {
        self.iter().map(Capability::as_str).collect()
    }
}

/// What a runner may do when nobody says it: look, and change nothing.
impl Default for CapabilitySet {
    fn default() -> Self {
        Self(Capability::ExecReadonly.bit())
    }
}

/// The words, as in lists.
impl fmt::Debug for CapabilitySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.words()).finish()
    }
}

impl FromIterator<Capability> for CapabilitySet {
    fn from_iter<I: IntoIterator<Item = Capability>>(capabilities: I) -> Self {
        Self(capabilities.into_iter().fold(0, |bits, capability| bits | capability.bit()))
    }
}

/// What a secret key may do beside queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// `exec`: shell jobs, as far as the runners' capabilities allow them.
    Exec,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 1] = [Self::Exec];

    /// The word in the store and in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exec => "exec",
        }
    }

    /// The scopes of these words, each once.
    pub fn parse<S: AsRef<str>>(words: &[S]) -> Result<Vec<Self>, UnknownWord> {
        let mut scopes = Vec::new();
        for word in words {
            let scope = word_of(&Self::ALL, Self::as_str, word.as_ref())?;
            if !scopes.contains(&scope) {
                scopes.push(scope);
            }
        }
        Ok(scopes)
    }
}

/// A word that is in none of the lists.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("one of {known}; there is no {word:?}")]
pub struct UnknownWord {
    /// The beginning of the word.
    pub word: String,
    /// The words that there are.
    pub known: String,
}

fn word_of<T: Copy>(all: &[T], name: fn(T) -> &'static str, word: &str) -> Result<T, UnknownWord> {
    let trimmed = word.trim();
    all.iter().copied().find(|known| name(*known) == trimmed).ok_or_else(|| UnknownWord {
        word: trimmed.chars().take(100).collect(),
        known: all.iter().map(|known| name(*known)).collect::<Vec<_>>().join(", "),
    })
}

impl FromStr for Capability {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        word_of(&Self::ALL, Self::as_str, word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_trimmed_and_counted_once() {
        let set = CapabilitySet::parse(&[" sandbox", "exec.readonly", "sandbox "]).unwrap();
        assert_eq!(set.words(), ["exec.readonly", "sandbox"]);
        assert_eq!(CapabilitySet::default().words(), ["exec.readonly"]);
        assert!(CapabilitySet::parse::<&str>(&[]).unwrap().is_empty());
        assert_eq!(Scope::parse(&["exec", " exec"]).unwrap(), [Scope::Exec]);
    }

    #[test]
    fn an_unknown_word_is_named_beside_those_that_there_are() {
        let refused = CapabilitySet::parse(&["exec.readonly", "exec.root"]).unwrap_err().to_string();
        assert_eq!(refused, "one of exec.readonly, exec.full, docker, sandbox; there is no \"exec.root\"");
        assert!(CapabilitySet::parse(&["Exec.Full"]).is_err(), "words are exact");
        assert!(Scope::parse(&["ingest"]).is_err());
    }

    #[test]
    fn what_both_sides_say_holds_and_full_contains_looking() {
        let set = |words: &[&str]| CapabilitySet::parse(words).unwrap();
        let both = |one: &[&str], other: &[&str]| set(one).and(set(other)).words();
        assert_eq!(both(&["exec.full", "docker"], &["exec.full", "sandbox"]), ["exec.readonly", "exec.full"]);
        assert_eq!(both(&["exec.readonly"], &["exec.full", "docker"]), ["exec.readonly"]);
        assert_eq!(both(&["exec.full"], &["exec.readonly"]), ["exec.readonly"]);
        assert!(both(&["sandbox"], &["exec.full"]).is_empty());
    }
}
