//! The programs that a read-only command may name, each with its grammar.

mod containers;
mod identity;
mod processes;
mod services;
mod texts;
mod usage;

use super::grammar::Grammar;
use super::rule::Denied;

/// A program and how its arguments are checked.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) name: &'static str,
    pub(super) arguments: Arguments,
}

/// How a program reads its arguments.
#[derive(Debug)]
pub(super) enum Arguments {
    /// Options and operands.
    Plain(&'static Grammar),
    /// A subcommand first.
    Subcommands(&'static [(&'static str, Grammar)]),
    /// In no common way.
    Own(fn(&[String]) -> Result<Vec<String>, Denied>),
    /// Nothing that it is given does anything but appear.
    Any,
}

/// Every program.
pub(super) const PROGRAMS: &[Program] = &[
    plain("cat", &texts::CAT),
    plain("date", &identity::DATE),
    plain("df", &usage::DF),
    Program { name: "docker", arguments: Arguments::Subcommands(containers::DOCKER) },
    plain("du", &usage::DU),
    Program { name: "echo", arguments: Arguments::Any },
    Program { name: "env", arguments: Arguments::Own(identity::env) },
    plain("false", &super::grammar::BARE),
    plain("free", &usage::FREE),
    plain("head", &texts::HEAD),
    plain("hostname", &identity::HOSTNAME),
    plain("id", &identity::ID),
    plain("journalctl", &services::JOURNALCTL),
    plain("ls", &texts::LS),
    plain("printenv", &identity::PRINTENV),
    Program { name: "ps", arguments: Arguments::Own(processes::ps) },
    plain("pwd", &identity::PWD),
    Program { name: "systemctl", arguments: Arguments::Subcommands(services::SYSTEMCTL) },
    plain("tail", &texts::TAIL),
    plain("top", &processes::TOP),
    plain("true", &super::grammar::BARE),
    plain("uname", &identity::UNAME),
    plain("uptime", &usage::UPTIME),
    plain("whoami", &super::grammar::BARE),
];

const fn plain(name: &'static str, grammar: &'static Grammar) -> Program {
    Program { name, arguments: Arguments::Plain(grammar) }
}

/// The names of all, for people.
pub(super) fn names() -> String {
    PROGRAMS.iter().map(|program| program.name).collect::<Vec<_>>().join(", ")
}

/// The program of that name.
pub(super) fn find(name: &str) -> Option<&'static Program> {
    PROGRAMS.iter().find(|program| program.name == name)
}

/// Whether an option before a subcommand leads to another engine, host or folder.
pub(super) fn leads_elsewhere(option: &str) -> bool {
    containers::CONNECTION.iter().any(|known| {
        let joined = !known.starts_with("--") && !option.starts_with("--") && option.starts_with(known);
        *known == option || joined
    })
}
