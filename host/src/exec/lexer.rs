//! Words of a command line without a shell: quotes, and nothing else.
//!
//! Whatever a shell would do with a line beyond cutting it into words is refused, because whoever wrote it expects it to
//! happen. Between single quotes every printable character stands for itself; between double quotes all but those that a
//! shell would act upon there; outside of quotes only those that no shell has a use for.

use super::rule::{Denied, Rule, shown};

/// Characters, beside letters and digits, that mean nothing to any shell.
const PLAIN: &str = "_-./:=,+@%";
/// Characters that begin an expansion where they stand outside of quotes.
const EXPANDED: &str = "*?[]{}~#!^";

/// Cuts a line into words.
pub(crate) fn words(line: &str) -> Result<Vec<String>, Denied> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut rest = line.chars();
    while let Some(character) = rest.next() {
        if character.is_control() {
            return Err(control(line));
        }
        match character {
            ' ' => words.extend(word.take()),
            '\'' | '"' => quoted(character, &mut rest, word.get_or_insert_default())?,
            plain if is_plain(plain) => word.get_or_insert_default().push(plain),
            other => return Err(special(other)),
        }
    }
    words.extend(word);
    if words.first().is_some_and(|first| first.contains('=')) {
        return Err(Denied::new(Rule::Assignment, "a variable before the program is not taken"));
    }
    Ok(words)
}

/// Reads up to the closing quote.
fn quoted(quote: char, rest: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), Denied> {
    for character in rest {
        match character {
            end if end == quote => return Ok(()),
            control_character if control_character.is_control() => return Err(control("a quoted text")),
            '$' | '`' | '\\' | '!' if quote == '"' => return Err(special(character)),
            other => word.push(other),
        }
    }
    Err(Denied::new(Rule::Quote, format!("a {quote} without its other half")))
}

/// Letters of other alphabets are letters to us and to every shell.
fn is_plain(character: char) -> bool {
    character.is_ascii_alphanumeric()
        || PLAIN.contains(character)
        || (!character.is_ascii() && character.is_alphanumeric())
}

fn special(character: char) -> Denied {
    if EXPANDED.contains(character) {
        let message =
            format!("{character} is not expanded here; put it into single quotes if it is meant as it is");
        return Denied::new(Rule::Expansion, message);
    }
    let message = format!("no shell reads this command, and {character} would mean something to one");
    Denied::new(Rule::Syntax, message)
}

fn control(what: &str) -> Denied {
    Denied::new(Rule::Control, format!("control characters are not taken: {}", shown(what)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rule(line: &str) -> Rule {
        words(line).expect_err(line).rule
    }

    #[test]
    fn a_line_is_cut_at_blanks_and_quotes_hold_together() {
        assert_eq!(words("df  -h / ").unwrap(), ["df", "-h", "/"]);
        assert_eq!(words("echo 'a  b' \"c d\" e'f'\"g\" ''").unwrap(), ["echo", "a  b", "c d", "efg", ""]);
        assert_eq!(words("date +%Y-%m-%d").unwrap(), ["date", "+%Y-%m-%d"]);
        assert_eq!(words("").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn between_single_quotes_everything_stands_for_itself() {
        assert_eq!(
            words(r"echo '$(id) `id` | & ; < > \ * ~'").unwrap(),
            ["echo", r"$(id) `id` | & ; < > \ * ~"]
        );
    }

    #[test]
    fn what_a_shell_would_act_upon_is_refused_by_name() {
        for line in [
            "ls;id",
            "ls|id",
            "ls&",
            "ls>x",
            "ls<x",
            "ls $HOME",
            "ls (x)",
            "echo `id`",
            "ls \\x",
            "ls && id",
            "echo \"$HOME\"",
            "echo \"`id`\"",
            "echo \"a\\\"b\"",
        ] {
            assert_eq!(rule(line), Rule::Syntax, "{line}");
        }
        for line in ["ls *", "ls ?", "ls [a]", "ls {a,b}", "ls ~", "ls # all", "ls !!", "ls a^b"] {
            assert_eq!(rule(line), Rule::Expansion, "{line}");
        }
        for line in ["ls\nid", "ls\rid", "ls\tx", "ls 'a\nb'", "ls \u{1b}[2J", "ls \u{85}"] {
            assert_eq!(rule(line), Rule::Control, "{line:?}");
        }
        assert_eq!(rule("echo 'x"), Rule::Quote);
        assert_eq!(rule("echo \"x"), Rule::Quote);
        assert_eq!(rule("X=1 ls"), Rule::Assignment);
        assert_eq!(rule("echo \u{a0}"), Rule::Syntax);
    }

    proptest! {
        #[test]
        fn whatever_is_quoted_comes_out_as_it_is(
            program in "[^\\p{Cc}'=]{0,20}",
            others in proptest::collection::vec("[^\\p{Cc}']{0,20}", 0..5),
        ) {
            let arguments: Vec<String> = std::iter::once(program).chain(others).collect();
            let line = arguments.iter().map(|argument| format!("'{argument}'")).collect::<Vec<_>>().join(" ");
            prop_assert_eq!(words(&line).unwrap(), arguments);
        }

        #[test]
        fn no_line_panics_and_no_word_has_what_a_shell_would_act_upon(line: String) {
            if let Ok(words) = words(&line)
                && !line.contains(['\'', '"'])
            {
                for word in words {
                    prop_assert!(!word.contains([';', '|', '&', '>', '<', '$', '(', ')', '`', '\\', '\n', '\r', '*', '~']));
                }
            }
        }
    }
}
