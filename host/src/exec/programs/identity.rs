//! `date env hostname id printenv pwd uname`: who and where this is.

use crate::exec::grammar::{BARE, Grammar, Operands, Takes, switch, valued};
use crate::exec::rule::{Denied, Rule, shown};

const PRECISIONS: &[&str] = &["date", "hours", "minutes", "seconds", "ns"];

pub(super) const DATE: Grammar = Grammar {
    options: &[
        valued(&["-I", "--iso-8601"], Takes::Maybe(PRECISIONS)),
        switch(&["-R", "--rfc-email"]),
        valued(&["--rfc-3339"], Takes::OneOf(&["date", "seconds", "ns"])),
        switch(&["-u", "--utc", "--universal"]),
    ],
    refused: &[("-s", Rule::Changes), ("--set", Rule::Changes)],
    operands: Operands::Format,
    ..BARE
};

/// Alone it prints the environment of the command, which holds nothing of the runner's. Everything else that it could be given
/// runs a program, or prepares to.
pub(super) fn env(arguments: &[String]) -> Result<Vec<String>, Denied> {
    match arguments.first() {
        None => Ok(Vec::new()),
        Some(argument) => {
            let message =
                format!("env runs what it is given, so it is given nothing; not {}", shown(argument));
            Err(Denied::new(Rule::RunsPrograms, message))
        }
    }
}

pub(super) const PRINTENV: Grammar = Grammar { operands: Operands::None(Rule::Variable), ..BARE };

pub(super) const HOSTNAME: Grammar = Grammar {
    options: &[
        switch(&["-d", "--domain"]),
        switch(&["-f", "--fqdn", "--long"]),
        switch(&["-i", "--ip-address"]),
        switch(&["-I", "--all-ip-addresses"]),
        switch(&["-s", "--short"]),
    ],
    refused: &[
        ("-b", Rule::Changes),
        ("--boot", Rule::Changes),
        ("-F", Rule::Changes),
        ("--file", Rule::Changes),
    ],
    operands: Operands::None(Rule::Changes),
    ..BARE
};

pub(super) const ID: Grammar = Grammar {
    options: &[
        switch(&["-g", "--group"]),
        switch(&["-G", "--groups"]),
        switch(&["-n", "--name"]),
        switch(&["-r", "--real"]),
        switch(&["-u", "--user"]),
    ],
    operands: Operands::Names { least: 0, most: 1 },
    ..BARE
};

pub(super) const PWD: Grammar =
    Grammar { options: &[switch(&["-L", "--logical"]), switch(&["-P", "--physical"])], ..BARE };

pub(super) const UNAME: Grammar = Grammar {
    options: &[
        switch(&["-a", "--all"]),
        switch(&["-i", "--hardware-platform"]),
        switch(&["-m", "--machine"]),
        switch(&["-n", "--nodename"]),
        switch(&["-o", "--operating-system"]),
        switch(&["-p", "--processor"]),
        switch(&["-r", "--kernel-release"]),
        switch(&["-s", "--kernel-name"]),
        switch(&["-v", "--kernel-version"]),
    ],
    ..BARE
};
