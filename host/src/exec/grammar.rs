//! What a program's arguments may be, as data, and the one reader of them.
//!
//! The reader understands arguments as the programs do (`-n5`, `-n 5`, `--lines=5`, `-abc`, `--`), takes only what the
//! grammar lists, and writes them anew in one form with operands behind `--`. What the program gets is therefore what was
//! checked, also where it would have read the original otherwise; abbreviations of long options are not taken.

use std::ffi::OsString;

use super::facts::Files;
use super::reading::{PathUse, Readable};
use super::rule::{Denied, Rule, shown};

/// Arguments of one command.
const MAX_ARGUMENTS: usize = 64;

/// The arguments of a program, or of one of its subcommands.
#[derive(Debug)]
pub(super) struct Grammar {
    /// Options that may be there.
    pub(super) options: &'static [Opt],
    /// Options whose refusal has another reason than that nobody knows them.
    pub(super) refused: &'static [(&'static str, Rule)],
    pub(super) operands: Operands,
    /// Options that must be there.
    pub(super) required: &'static [&'static str],
    /// Given to the program before everything else.
    pub(super) always: &'static [&'static str],
    /// Given to the program where none of the options that stand before is there.
    pub(super) otherwise: Option<(&'static [&'static str], &'static [&'static str])>,
    /// Whether `-5` means `-n 5`.
    pub(super) bare_number: bool,
}

/// An option under its names, the one that the program is given first.
#[derive(Debug)]
pub(super) struct Opt {
    pub(super) names: &'static [&'static str],
    pub(super) takes: Takes,
}

/// What follows an option.
#[derive(Debug, Clone, Copy)]
pub(super) enum Takes {
    /// Nothing.
    Nothing,
    /// A whole number up to this one, with or without a sign.
    Count(u64),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// Some of these words, with commas between them.
    Some(&'static [&'static str]),
    /// One of these words, in the same argument, or nothing.
    Maybe(&'static [&'static str]),
    /// A name: letters, digits and a few signs.
    Name,
    /// Any text.
    Text,
    /// How docker is to print something: `table` or `json`, text, and fields between braces. Its functions are not taken: one
    /// of them makes text of any length.
    Template,
}

/// What stands beside the options.
#[derive(Debug, Clone, Copy)]
pub(super) enum Operands {
    /// Nothing; what is there breaks this rule.
    None(Rule),
    /// Names: letters, digits and a few signs.
    Names { least: usize, most: usize },
    /// Paths, which are resolved.
    Paths { usage: PathUse, least: usize },
    /// At most one, which begins with `+` and changes nothing.
    Format,
}

/// No options and no operands.
pub(super) const BARE: Grammar = Grammar {
    options: &[],
    refused: &[],
    operands: Operands::None(Rule::Operand),
    required: &[],
    always: &[],
    otherwise: None,
    bare_number: false,
};

/// A switch under its names.
pub(super) const fn switch(names: &'static [&'static str]) -> Opt {
    Opt { names, takes: Takes::Nothing }
}

/// An option with something behind it.
pub(super) const fn valued(names: &'static [&'static str], takes: Takes) -> Opt {
    Opt { names, takes }
}

/// What operands that are paths are held against.
pub(super) struct Place<'a> {
    pub(super) readable: &'a Readable,
    pub(super) files: &'a dyn Files,
}

impl Grammar {
    /// Checks `arguments` and answers those for the program.
    pub(super) fn check(&self, arguments: &[String], place: &Place<'_>) -> Result<Vec<OsString>, Denied> {
        if arguments.len() > MAX_ARGUMENTS {
            return Err(Denied::new(Rule::Operand, format!("more than {MAX_ARGUMENTS} arguments")));
        }
        let read = self.read(arguments)?;
        for name in self.required {
            if !read.has(name) {
                let all = self.required.join(" and ");
                let message =
                    format!("option {name} is missing: this needs {all} here, so that it ends by itself");
                return Err(Denied::new(Rule::Required, message));
            }
        }
        let operands = self.operands(&read.operands, place)?;
        let mut written: Vec<OsString> = self.always.iter().map(OsString::from).collect();
        if let Some((unless, given)) = self.otherwise
            && !unless.iter().any(|name| read.has(name))
        {
            written.extend(given.iter().map(OsString::from));
        }
        read.options.iter().for_each(|(option, value)| option.write(value.as_deref(), &mut written));
        if !operands.is_empty() {
            written.push("--".into());
            written.extend(operands);
        }
        Ok(written)
    }

    fn read<'a>(&self, arguments: &'a [String]) -> Result<Read<'a>, Denied> {
        let mut read = Read::default();
        let mut rest = arguments.iter().map(String::as_str);
        while let Some(argument) = rest.next() {
            match argument {
                "--" => read.operands.extend(rest.by_ref()),
                long if long.starts_with("--") => self.long(long, &mut rest, &mut read)?,
                number if self.bare_number && is_bare_number(number) => {
                    let value = number.trim_start_matches('-');
                    read.options.push((self.find("-n")?, Some(value)));
                }
                "-" => read.operands.push(argument),
                short if short.starts_with('-') => self.short(short, &mut rest, &mut read)?,
                operand => read.operands.push(operand),
            }
        }
        Ok(read)
    }

    fn long<'a>(
        &self,
        argument: &'a str,
        rest: &mut impl Iterator<Item = &'a str>,
        read: &mut Read<'a>,
    ) -> Result<(), Denied> {
        let (name, value) = match argument.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (argument, None),
        };
        let option = self.find(name)?;
        let value = match (option.takes, value) {
            (Takes::Nothing, Some(_)) => return Err(no_value(name)),
            (Takes::Nothing | Takes::Maybe(_), None) => None,
            (_, Some(value)) => Some(value),
            (_, None) => Some(rest.next().ok_or_else(|| no_value(name))?),
        };
        option.take(name, value, read)
    }

    fn short<'a>(
        &self,
        argument: &'a str,
        rest: &mut impl Iterator<Item = &'a str>,
        read: &mut Read<'a>,
    ) -> Result<(), Denied> {
        for (index, letter) in argument.char_indices().skip(1) {
            let name = format!("-{letter}");
            let option = self.find(&name)?;
            let behind = argument.get(index + letter.len_utf8()..).unwrap_or_default();
            let value = match option.takes {
                Takes::Nothing => None,
                Takes::Maybe(_) => (!behind.is_empty()).then_some(behind),
                _ if !behind.is_empty() => Some(behind),
                _ => Some(rest.next().ok_or_else(|| no_value(&name))?),
            };
            option.take(&name, value, read)?;
            if value.is_some() {
                break;
            }
        }
        Ok(())
    }

    fn find(&self, name: &str) -> Result<&'static Opt, Denied> {
        if let Some((_, rule)) = self.refused.iter().find(|(refused, _)| *refused == name) {
            let reason = match rule {
                Rule::Follow => "never ends",
                Rule::Changes => "changes something",
                Rule::RunsPrograms => "runs other programs",
                Rule::Connection => "leads elsewhere",
                _ => "is not taken",
            };
            return Err(Denied::new(*rule, format!("option {name} {reason}")));
        }
        let found = self.options.iter().find(|option| option.names.contains(&name));
        found.ok_or_else(|| {
            Denied::new(Rule::Option, format!("option {} is not taken here; {}", shown(name), self.taken()))
        })
    }

    /// The options that there are, each by one of its names.
    fn taken(&self) -> String {
        let names: Vec<&str> =
            self.options.iter().filter_map(|option| option.names.first().copied()).collect();
        if names.is_empty() { "none is".to_owned() } else { format!("those that are: {}", names.join(" ")) }
    }

    fn operands(&self, operands: &[&str], place: &Place<'_>) -> Result<Vec<OsString>, Denied> {
        match self.operands {
            Operands::None(rule) => match operands.first() {
                Some(operand) => Err(Denied::new(rule, format!("{} is not taken", shown(operand)))),
                None => Ok(Vec::new()),
            },
            Operands::Names { least, most } => {
                count(operands, least, most)?;
                operands.iter().map(|operand| name(operand).map(OsString::from)).collect()
            }
            Operands::Paths { usage, least } => {
                count(operands, least, MAX_ARGUMENTS)?;
                let resolve = |text: &&str| place.readable.resolve(text, usage, place.files);
                operands.iter().map(|operand| resolve(operand).map(OsString::from)).collect()
            }
            Operands::Format => {
                count(operands, 0, 1)?;
                match operands.iter().find(|operand| !operand.starts_with('+')) {
                    Some(operand) => {
                        Err(Denied::new(Rule::Changes, format!("{} would set something", shown(operand))))
                    }
                    None => Ok(operands.iter().map(OsString::from).collect()),
                }
            }
        }
    }
}

/// What was read of a command's arguments.
#[derive(Default)]
struct Read<'a> {
    options: Vec<(&'static Opt, Option<&'a str>)>,
    operands: Vec<&'a str>,
}

impl Read<'_> {
    fn has(&self, name: &str) -> bool {
        self.options.iter().any(|(option, _)| option.names.contains(&name))
    }
}

impl Opt {
    fn take<'a>(
        &'static self,
        name: &str,
        value: Option<&'a str>,
        read: &mut Read<'a>,
    ) -> Result<(), Denied> {
        if let Some(value) = value
            && !self.takes.accepts(value)
        {
            return Err(Denied::new(Rule::Value, format!("option {name} does not take {}", shown(value))));
        }
        read.options.push((self, value));
        Ok(())
    }

    /// Short options with what follows in an argument of its own; long ones, and what may be left out, in the same.
    fn write(&self, value: Option<&str>, written: &mut Vec<OsString>) {
        let Some(name) = self.names.first() else { return };
        match (value, self.takes) {
            (None, _) => written.push(name.into()),
            (Some(value), Takes::Maybe(_)) if !name.starts_with("--") => {
                written.push(format!("{name}{value}").into());
            }
            (Some(value), _) if name.starts_with("--") => written.push(format!("{name}={value}").into()),
            (Some(value), _) => written.extend([OsString::from(name), OsString::from(value)]),
        }
    }
}

impl Takes {
    fn accepts(self, value: &str) -> bool {
        match self {
            Self::Nothing => false,
            Self::Count(most) => {
                let digits = value.strip_prefix(['+', '-']).unwrap_or(value);
                digits.bytes().all(|digit| digit.is_ascii_digit())
                    && digits.parse::<u64>().is_ok_and(|count| count <= most)
            }
            Self::OneOf(words) | Self::Maybe(words) => words.contains(&value),
            Self::Some(words) => value.split(',').all(|word| words.contains(&word)),
            Self::Name => name(value).is_ok(),
            Self::Text => true,
            Self::Template => is_plain_template(value),
        }
    }
}

/// Text with `{{.Field}}` or `{{json .Field}}` in it.
fn is_plain_template(text: &str) -> bool {
    let mut parts = text.split("{{");
    let is_text = |part: &str| !part.contains("}}");
    parts.next().is_none_or(is_text)
        && parts
            .all(|part| part.split_once("}}").is_some_and(|(field, rest)| is_field(field) && is_text(rest)))
}

fn is_field(text: &str) -> bool {
    let field = text.trim();
    let field = field.strip_prefix("json ").map_or(field, str::trim_start);
    let fits = |letter: u8| letter.is_ascii_alphanumeric() || b"._".contains(&letter);
    field.starts_with('.') && field.bytes().all(fits)
}

fn no_value(name: &str) -> Denied {
    Denied::new(Rule::Value, format!("option {name} has no value, or one that it does not take"))
}

fn is_bare_number(argument: &str) -> bool {
    argument.strip_prefix('-').is_some_and(|digits| {
        !digits.is_empty() && digits.len() <= 6 && digits.bytes().all(|digit| digit.is_ascii_digit())
    })
}

fn count(operands: &[&str], least: usize, most: usize) -> Result<(), Denied> {
    if (least..=most).contains(&operands.len()) {
        return Ok(());
    }
    let message = format!("from {least} to {most} operands are taken, not {}", operands.len());
    Err(Denied::new(Rule::Operand, message))
}

/// A name of a user, a unit, a container or an image: it begins with a letter or a digit, so it is never an option.
fn name(text: &str) -> Result<&str, Denied> {
    let begins = text.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_');
    let signs = |sign: char| sign.is_ascii_alphanumeric() || "_-.:@/".contains(sign);
    if begins && text.len() <= 255 && text.chars().all(signs) {
        return Ok(text);
    }
    Err(Denied::new(Rule::Operand, format!("{} is not a name", shown(text))))
}

#[cfg(test)]
mod tests {
    use super::super::facts::fixtures::FakeFiles;
    use super::*;

    const LINES: Grammar = Grammar {
        options: &[
            switch(&["-q", "--quiet"]),
            valued(&["-n", "--lines"], Takes::Count(100)),
            valued(&["--color"], Takes::Maybe(&["never"])),
            valued(&["-o"], Takes::Some(&["a", "b"])),
        ],
        refused: &[("-f", Rule::Follow), ("--follow", Rule::Follow)],
        operands: Operands::Names { least: 0, most: 2 },
        bare_number: true,
        ..BARE
    };

    fn check(arguments: &[&str]) -> Result<Vec<String>, Rule> {
        let arguments: Vec<_> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let place = Place { readable: &Readable::default(), files: &FakeFiles::default() };
        let written = LINES.check(&arguments, &place).map_err(|denied| denied.rule)?;
        Ok(written.into_iter().map(|argument| argument.into_string().unwrap()).collect())
    }

    #[test]
    fn every_way_to_write_an_option_is_the_same_option() {
        for arguments in [
            &["-n", "5", "-q", "x"][..],
            &["-n5", "-q", "x"],
            &["--lines", "5", "--quiet", "x"],
            &["--lines=5", "x", "-q"],
            &["-5", "-q", "--", "x"],
        ] {
            assert_eq!(check(arguments).unwrap(), ["-n", "5", "-q", "--", "x"], "{arguments:?}");
        }
        assert_eq!(check(&["-qn5"]).unwrap(), ["-q", "-n", "5"]);
        assert_eq!(check(&["--color", "--color=never"]).unwrap(), ["--color", "--color=never"]);
        assert_eq!(check(&["-o", "a,b"]).unwrap(), ["-o", "a,b"]);
    }

    #[test]
    fn what_the_grammar_does_not_list_is_refused() {
        for (arguments, rule) in [
            (&["-x"][..], Rule::Option),
            (&["-qx"], Rule::Option),
            (&["--qui"], Rule::Option),
            (&["--quiet=1"], Rule::Value),
            (&["-f"], Rule::Follow),
            (&["-qf"], Rule::Follow),
            (&["--follow"], Rule::Follow),
            (&["--follow=name"], Rule::Follow),
            (&["-n"], Rule::Value),
            (&["-n", "x"], Rule::Value),
            (&["-n", "101"], Rule::Value),
            (&["-n", ""], Rule::Value),
            (&["-o", "a,c"], Rule::Value),
            (&["--color=always"], Rule::Value),
            (&["a", "b", "c"], Rule::Operand),
            (&["-"], Rule::Operand),
            (&["--", "-q"], Rule::Operand),
            (&["a b"], Rule::Operand),
        ] {
            assert_eq!(check(arguments), Err(rule), "{arguments:?}");
        }
        assert_eq!(check(&["x"; 65]), Err(Rule::Operand));
    }

    #[test]
    fn a_denial_says_what_would_be_taken() {
        let said = |grammar: &Grammar, arguments: &[&str]| {
            let arguments: Vec<_> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
            let place = Place { readable: &Readable::default(), files: &FakeFiles::default() };
            grammar.check(&arguments, &place).unwrap_err().message
        };
        assert_eq!(
            said(&LINES, &["-R"]),
            r#"option "-R" is not taken here; those that are: -q -n --color -o"#
        );
        assert_eq!(said(&BARE, &["-R"]), r#"option "-R" is not taken here; none is"#);
        let needing = Grammar { required: &["-q", "-n"], ..LINES };
        assert_eq!(
            said(&needing, &["-q"]),
            "option -n is missing: this needs -q and -n here, so that it ends by itself"
        );
    }
}
