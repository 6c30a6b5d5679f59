//! The rules of this host's policy by name, so that a denial says which of them it was.

use std::fmt;

use thiserror::Error;

/// Why something was refused. The name is public: it travels in `exec_error.rule`, and `docs/exec.md` lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Rule {
    /// The runner runs no shell jobs.
    Off,
    /// The mode is not granted.
    Mode,
    /// A read-only command takes no variables.
    Env,
    /// A character that a shell would act upon.
    Syntax,
    /// A character that a shell would expand.
    Expansion,
    /// A control character: line breaks, tabs, escapes.
    Control,
    /// A quote without its other half.
    Quote,
    /// A variable before the program.
    Assignment,
    /// A program with a path.
    ProgramPath,
    /// A program that is not one of those that only look.
    ProgramUnknown,
    /// A program that this host does not have where programs of the system are.
    ProgramMissing,
    /// A program that somebody else than root could have put there.
    ProgramUntrusted,
    /// An option that is not one of those that only look.
    Option,
    /// An option or operand that changes something.
    Changes,
    /// An option that never ends.
    Follow,
    /// An option or operand that runs another program.
    RunsPrograms,
    /// An option that goes elsewhere: to another host, engine or folder.
    Connection,
    /// A value that the option does not take.
    Value,
    /// An operand where there can be none, or not so many.
    Operand,
    /// An option that must be there is not.
    Required,
    /// A subcommand that is not one of those that only look.
    Subcommand,
    /// The name of a variable, which could be a secret.
    Variable,
    /// A path that is not absolute.
    PathRelative,
    /// A path that does not exist.
    PathMissing,
    /// A path outside of the folders that may be read.
    PathOutside,
    /// A path that not every user of the host may read.
    PathPrivate,
    /// A path that is known to hold keys or tokens, or is the runner's own.
    PathSecret,
    /// A device, a socket, a pipe, or a folder where a file is wanted.
    PathKind,
    /// The docker program is not granted.
    Docker,
    /// The image is not one of the granted ones.
    Image,
    /// The network is not one of the granted ones.
    Network,
    /// More memory than is granted.
    Memory,
    /// More processors than are granted.
    Cpus,
}

impl Rule {
    /// Every rule.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 33] = [
        Self::Off,
        Self::Mode,
        Self::Env,
        Self::Syntax,
        Self::Expansion,
        Self::Control,
        Self::Quote,
        Self::Assignment,
        Self::ProgramPath,
        Self::ProgramUnknown,
        Self::ProgramMissing,
        Self::ProgramUntrusted,
        Self::Option,
        Self::Changes,
        Self::Follow,
        Self::RunsPrograms,
        Self::Connection,
        Self::Value,
        Self::Operand,
        Self::Required,
        Self::Subcommand,
        Self::Variable,
        Self::PathRelative,
        Self::PathMissing,
        Self::PathOutside,
        Self::PathPrivate,
        Self::PathSecret,
        Self::PathKind,
        Self::Docker,
        Self::Image,
        Self::Network,
        Self::Memory,
        Self::Cpus,
    ];

    /// The public name.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "exec.off",
            Self::Mode => "exec.mode",
            Self::Env => "readonly.env",
            Self::Syntax => "command.syntax",
            Self::Expansion => "command.expansion",
            Self::Control => "command.control",
            Self::Quote => "command.quote",
            Self::Assignment => "command.assignment",
            Self::ProgramPath => "program.path",
            Self::ProgramUnknown => "program.unknown",
            Self::ProgramMissing => "program.missing",
            Self::ProgramUntrusted => "program.untrusted",
            Self::Option => "argument.option",
            Self::Changes => "argument.changes",
            Self::Follow => "argument.follow",
            Self::RunsPrograms => "argument.runs-programs",
            Self::Connection => "argument.connection",
            Self::Value => "argument.value",
            Self::Operand => "argument.operand",
            Self::Required => "argument.required",
            Self::Subcommand => "argument.subcommand",
            Self::Variable => "argument.variable",
            Self::PathRelative => "path.relative",
            Self::PathMissing => "path.missing",
            Self::PathOutside => "path.outside",
            Self::PathPrivate => "path.private",
            Self::PathSecret => "path.secret",
            Self::PathKind => "path.kind",
            Self::Docker => "docker.off",
            Self::Image => "sandbox.image",
            Self::Network => "sandbox.network",
            Self::Memory => "sandbox.memory",
            Self::Cpus => "sandbox.cpus",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A refusal: the rule, and what a person should know.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message} ({rule})")]
pub(crate) struct Denied {
    pub(crate) rule: Rule,
    pub(crate) message: String,
}

impl Denied {
    pub(crate) fn new(rule: Rule, message: impl Into<String>) -> Self {
        Self { rule, message: message.into() }
    }
}

/// The beginning of what a caller wrote, for messages.
pub(crate) fn shown(text: &str) -> String {
    const LENGTH: usize = 80;
    let cut: String = text.chars().take(LENGTH).collect();
    let more = if cut.len() < text.len() { ".." } else { "" };
    format!("{cut:?}{more}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_rule_has_a_name_of_its_own() {
        let names: BTreeSet<_> = Rule::ALL.into_iter().map(Rule::as_str).collect();
        assert_eq!(names.len(), Rule::ALL.len());
    }

    #[test]
    fn what_a_caller_wrote_is_shown_short_and_escaped() {
        assert_eq!(shown("a\nb"), "\"a\\nb\"");
        assert!(shown(&"x".repeat(10_000)).len() < 100);
    }
}
