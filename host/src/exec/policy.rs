//! What `readonly` lets through: a program that only looks, with arguments that make it only look.
//!
//! There is no shell. The program is one of a list, found in folders that only root can change and never by anybody's
//! `PATH`; its arguments are held against its own grammar and written anew. This is pure but for [`Files`], so that a test
//! can play any host. It keeps honest callers from accidents and others from the obvious; the wall against code that is not
//! trusted is a container.

use std::ffi::OsString;
use std::path::PathBuf;

use protocol::Invocation;

use super::facts::{Facts, Files, Kind};
use super::grammar::{Grammar, Place};
use super::lexer;
use super::programs::{self, Arguments};
use super::reading::Readable;
use super::rule::{Denied, Rule, shown};

/// Where programs of the system are.
const FOLDERS: [&str; 4] = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"];

/// What one host lets through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Policy {
    /// Folders with programs, beside those of the system. They, too, must be root's alone.
    pub(crate) folders: Vec<PathBuf>,
    /// Which files may be read.
    pub(crate) readable: Readable,
    /// Whether `docker` is one of the programs.
    pub(crate) docker: bool,
}

/// A command that may run: what it is called, what is run, and with what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Approved {
    /// The program's name, which it sees as its own.
    pub(crate) name: &'static str,
    /// Absolute, without links.
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
}

impl Policy {
    /// Decides about one command.
    pub(crate) fn approve(&self, invocation: &Invocation, files: &dyn Files) -> Result<Approved, Denied> {
        let argv = match invocation {
            Invocation::Command(line) => lexer::words(line)?,
            Invocation::Argv(argv) => argv.clone(),
        };
        if let Some(argument) = argv.iter().find(|argument| argument.contains(char::is_control)) {
            let message = format!("control characters are not taken: {}", shown(argument));
            return Err(Denied::new(Rule::Control, message));
        }
        let Some((name, arguments)) = argv.split_first() else {
            return Err(Denied::new(Rule::ProgramUnknown, "there is no program in the command"));
        };
        let program = find(name)?;
        if program.name == "docker" && !self.docker {
            return Err(Denied::new(Rule::Docker, "docker is not granted on this runner"));
        }
        let place = Place { readable: &self.readable, files };
        let arguments = match &program.arguments {
            Arguments::Plain(grammar) => grammar.check(arguments, &place)?,
            Arguments::Subcommands(subcommands) => subcommand(program.name, subcommands, arguments, &place)?,
            Arguments::Own(check) => check(arguments)?.into_iter().map(OsString::from).collect(),
            Arguments::Any => arguments.iter().map(OsString::from).collect(),
        };
        let program_path = self.locate(program.name, files)?;
        Ok(Approved { name: program.name, program: program_path, arguments })
    }

    /// Which programs there are, and why some of those that are there cannot be used.
    pub(crate) fn programs(&self, files: &dyn Files) -> (Vec<&'static str>, Vec<String>) {
        let (mut found, mut refused) = (Vec::new(), Vec::new());
        for program in programs::PROGRAMS {
            match self.locate(program.name, files) {
                Ok(_) => found.push(program.name),
                Err(denied) if denied.rule == Rule::ProgramMissing => {}
                Err(denied) => refused.push(denied.message),
            }
        }
        (found, refused)
    }

    /// The program's file, in the first folder that has one.
    fn locate(&self, name: &str, files: &dyn Files) -> Result<PathBuf, Denied> {
        let folders = FOLDERS.iter().map(PathBuf::from).chain(self.folders.iter().cloned());
        for folder in folders {
            let Some(facts) = files.look_up(&folder.join(name)) else { continue };
            let folder_facts = files.look_up(&folder).unwrap_or_default();
            if !is_roots_alone(&facts) || !is_roots_alone(&folder_facts) {
                let message =
                    format!("{} could have been put there by others than root", folder.join(name).display());
                return Err(Denied::new(Rule::ProgramUntrusted, message));
            }
            match facts.into_iter().next() {
                Some(file) if file.kind == Kind::File && file.mode & 0o111 != 0 => return Ok(file.path),
                _ => {}
            }
        }
        let message = format!(
            "this host has no {name} in {}, or a folder of readonly.folders in the runner's settings",
            FOLDERS.join(", ")
        );
        Err(Denied::new(Rule::ProgramMissing, message))
    }
}

fn find(name: &str) -> Result<&'static programs::Program, Denied> {
    if name.contains('/') {
        let message = format!("{} is a path; a program is given by its name alone", shown(name));
        return Err(Denied::new(Rule::ProgramPath, message));
    }
    let unknown = || {
        Denied::new(
            Rule::ProgramUnknown,
            format!("{} is not one of the programs that only look: {}", shown(name), programs::names()),
        )
    };
    programs::find(name).ok_or_else(unknown)
}

fn subcommand(
    program: &str,
    subcommands: &'static [(&'static str, Grammar)],
    arguments: &[String],
    place: &Place<'_>,
) -> Result<Vec<OsString>, Denied> {
    let Some((name, rest)) = arguments.split_first() else {
        return Err(Denied::new(Rule::Subcommand, format!("{program} needs a subcommand")));
    };
    let option = name.split('=').next().unwrap_or(name);
    if programs::leads_elsewhere(option) {
        return Err(Denied::new(Rule::Connection, format!("{program} {option} leads elsewhere")));
    }
    let found = subcommands.iter().find(|(known, _)| known == name);
    let Some((known, grammar)) = found else {
        let known: Vec<&str> = subcommands.iter().map(|(known, _)| *known).collect();
        let message = format!(
            "{program} {} is not one of the subcommands that only look: {}",
            shown(name),
            known.join(", ")
        );
        return Err(Denied::new(Rule::Subcommand, message));
    };
    let mut written = vec![OsString::from(known)];
    written.extend(grammar.check(rest, place)?);
    Ok(written)
}

/// Whether nobody but root can change what is there, or put something else in its place.
fn is_roots_alone(facts: &[Facts]) -> bool {
    const OTHERS_WRITE: u32 = 0o022;
    !facts.is_empty() && facts.iter().all(|facts| facts.owner == 0 && facts.mode & OTHERS_WRITE == 0)
}

#[cfg(test)]
mod tests;
