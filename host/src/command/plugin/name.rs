//! The names of a new plugin, all made from the one that was typed.

use heck::{ToKebabCase, ToTitleCase};

use super::error::Refusal;

/// Bytes of a package name.
const LONGEST: usize = 128;
/// Names that a crate cannot have, because the compiler has them.
const RESERVED: &[&str] = &["alloc", "core", "proc-macro", "std", "test"];
/// What package names of bridges begin with, and names for people do not.
const PREFIX: &str = "bridge-";

/// A plugin's names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name {
    /// As it was typed: `@acme/bridge-things`.
    pub(super) package: String,
    /// A name for a crate, a folder and a file: `bridge-things`.
    pub(super) project: String,
    /// For people: `Things`.
    pub(super) display: String,
}

impl Name {
    /// Takes names as npm takes them: `name` or `@scope/name`, in lower case.
    pub(super) fn parse(text: &str) -> Result<Self, Refusal> {
        let refuse = |reason| Refusal::Name { name: text.to_owned(), reason };
        if text.len() > LONGEST {
            return Err(refuse("it has more than 128 characters"));
        }
        let (scope, last) = match text.strip_prefix('@').map(|scoped| scoped.split_once('/')) {
            Some(None) => return Err(refuse("after the scope there is a name, as in @acme/bridge-things")),
            Some(Some((scope, last))) => (Some(scope), last),
            None => (None, text),
        };
        if ![scope.unwrap_or(last), last].into_iter().all(is_part) {
            return Err(refuse(
                "it begins with a letter or digit and has small letters, digits, \"-\", \"_\" and \".\", \
                 perhaps after a scope, as in @acme/bridge-things",
            ));
        }
        Ok(Self { package: text.to_owned(), project: project(last), display: display(last) })
    }
}

fn is_part(part: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    part.bytes().next().is_some_and(plain)
        && part.bytes().all(|byte| plain(byte) || matches!(byte, b'-' | b'_' | b'.'))
}

/// What a crate can be called: no keyword, no digit first.
pub(super) fn project(last: &str) -> String {
    let name = last.to_kebab_case();
    let begins_well = name.starts_with(|first: char| first.is_ascii_lowercase());
    if begins_well && !RESERVED.contains(&name.as_str()) && !is_keyword(&name) {
        name
    } else {
        format!("{PREFIX}{name}")
    }
}

/// Words of Rust that stand alone.
fn is_keyword(name: &str) -> bool {
    const WORDS: &str = " abstract as async await become box break const continue crate do dyn else enum extern false \
                         final fn for gen if impl in let loop macro match mod move mut override priv pub ref return \
                         self static struct super trait true try type typeof unsafe unsized use virtual where while \
                         yield ";
    WORDS.split_whitespace().any(|word| word == name)
}

fn display(last: &str) -> String {
    let bare = last.strip_prefix(PREFIX).filter(|bare| !bare.is_empty()).unwrap_or(last);
    bare.to_title_case()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_gives_all_others() {
        for (typed, project, display) in [
            ("@acme/bridge-things", "bridge-things", "Things"),
            ("things", "things", "Things"),
            ("@acme/open_weather.v2", "open-weather-v2", "Open Weather V2"),
            ("bridge-", "bridge", "Bridge"),
            ("3scale", "bridge-3scale", "3scale"),
            ("match", "bridge-match", "Match"),
            ("core", "bridge-core", "Core"),
        ] {
            let name = Name::parse(typed).unwrap();
            assert_eq!((name.project.as_str(), name.display.as_str()), (project, display), "{typed}");
            assert_eq!(name.package, typed);
        }
    }

    #[test]
    fn what_is_no_name_is_refused_with_an_example() {
        let long = "a".repeat(129);
        for typed in ["", "Things", "my things", "@acme", "@/x", "@acme/", "../x", "@a/b/c", "-x", "ä", &long]
        {
            let refusal = Name::parse(typed).unwrap_err().to_string();
            assert!(refusal.contains("@acme/bridge-things") || typed.len() > 128, "{refusal}");
        }
    }
}
