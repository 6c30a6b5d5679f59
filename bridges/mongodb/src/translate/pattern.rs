//! String operators as regular expressions that match the whole text, also across lines.

use protocol::TextMatch;

/// The end of the text and nothing before it: `$` would also match before a last line break.
const END: &str = "(?![\\s\\S])";

/// The pattern and its options: `s`, a dot is any character, and `i` where case means nothing.
pub(super) fn pattern(text_match: TextMatch, operand: &str) -> (String, &'static str) {
    let mut out = String::with_capacity(2 * operand.len() + 16);
    match text_match {
        TextMatch::ILike | TextMatch::Like => {
            out.push('^');
            like(&mut out, operand);
            out.push_str(END);
        }
        TextMatch::Contains => operand.chars().for_each(|character| push_literal(&mut out, character)),
        TextMatch::StartsWith => {
            out.push('^');
            operand.chars().for_each(|character| push_literal(&mut out, character));
        }
        TextMatch::EndsWith => {
            operand.chars().for_each(|character| push_literal(&mut out, character));
            out.push_str(END);
        }
    }
    (out, if text_match == TextMatch::Like { "s" } else { "is" })
}

/// `%` is any run, `_` one character, `\` makes the next one literal; at the end it is itself.
fn like(out: &mut String, operand: &str) {
    let mut characters = operand.chars();
    while let Some(character) = characters.next() {
        match character {
            '%' => out.push_str(".*"),
            '_' => out.push('.'),
            '\\' => push_literal(out, characters.next().unwrap_or('\\')),
            literal => push_literal(out, literal),
        }
    }
}

/// A zero character ends a pattern on the wire, so it is named.
fn push_literal(out: &mut String, character: char) {
    match character {
        '\0' => out.push_str("\\x00"),
        special if special.is_ascii_punctuation() => {
            out.push('\\');
            out.push(special);
        }
        plain => out.push(plain),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operands_are_literal_but_for_the_two_wildcards() {
        for (text_match, operand, expected) in [
            (TextMatch::ILike, "a_c%", "^a.c.*(?![\\s\\S])"),
            (TextMatch::Like, "50\\%", "^50\\%(?![\\s\\S])"),
            (TextMatch::ILike, "\\", "^\\\\(?![\\s\\S])"),
            (TextMatch::Contains, "a.*[b", "a\\.\\*\\[b"),
            (TextMatch::StartsWith, "^$", "^\\^\\$"),
            (TextMatch::EndsWith, "x\0", "x\\x00(?![\\s\\S])"),
        ] {
            assert_eq!(pattern(text_match, operand).0, expected, "{operand}");
        }
        assert_eq!(pattern(TextMatch::Like, "").1, "s");
        assert_eq!(pattern(TextMatch::ILike, "").1, "is");
    }
}
