//! Patterns of the string operators, rewritten for what an engine's own matching can escape.
//!
//! A caller escapes with `\`. Engines differ in what that means inside and outside of literals, so patterns are taken
//! apart and put together again with an escape that means the same everywhere.

use protocol::TextMatch;

/// How an engine's patterns are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatternSyntax {
    /// `%` and `_`, escaped by `!` (the template says `ESCAPE '!'`).
    Like,
    /// The same, and `[` opens a set: SQL Server.
    LikeWithSets,
    /// `%` and `_`, escaped by `\` without a clause for it: BigQuery, ClickHouse.
    Backslash,
    /// `*` and `?`, escaped as sets of one: SQLite's `GLOB`.
    Glob,
}

enum Piece {
    Run,
    One,
    Literal(char),
}

/// The pattern for an operand.
pub(crate) fn pattern(syntax: PatternSyntax, text_match: TextMatch, operand: &str) -> String {
    let mut out = String::with_capacity(operand.len() + 2);
    if matches!(text_match, TextMatch::Contains | TextMatch::EndsWith) {
        syntax.push(&mut out, &Piece::Run);
    }
    match text_match {
        TextMatch::ILike | TextMatch::Like => pieces(operand, |piece| syntax.push(&mut out, &piece)),
        TextMatch::Contains | TextMatch::StartsWith | TextMatch::EndsWith => {
            operand.chars().for_each(|literal| syntax.push(&mut out, &Piece::Literal(literal)));
        }
    }
    if matches!(text_match, TextMatch::Contains | TextMatch::StartsWith) {
        syntax.push(&mut out, &Piece::Run);
    }
    out
}

/// `\` makes the next character literal; at the end it stands for itself.
fn pieces(operand: &str, mut each: impl FnMut(Piece)) {
    let mut characters = operand.chars();
    while let Some(character) = characters.next() {
        each(match character {
            '%' => Piece::Run,
            '_' => Piece::One,
            '\\' => Piece::Literal(characters.next().unwrap_or('\\')),
            literal => Piece::Literal(literal),
        });
    }
}

impl PatternSyntax {
    fn push(self, out: &mut String, piece: &Piece) {
        match (self, piece) {
            (Self::Glob, Piece::Run) => out.push('*'),
            (Self::Glob, Piece::One) => out.push('?'),
            (_, Piece::Run) => out.push('%'),
            (_, Piece::One) => out.push('_'),
            (Self::Glob, Piece::Literal(literal @ ('*' | '?' | '['))) => out.extend(['[', *literal, ']']),
            (Self::Like, Piece::Literal(literal @ ('%' | '_' | '!')))
            | (Self::LikeWithSets, Piece::Literal(literal @ ('%' | '_' | '!' | '['))) => {
                out.extend(['!', *literal]);
            }
            (Self::Backslash, Piece::Literal(literal @ ('%' | '_' | '\\'))) => out.extend(['\\', *literal]),
            (_, Piece::Literal(literal)) => out.push(*literal),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literal_operands_are_escaped_for_every_engine() {
        let operand = r"50%_!\[*?]";
        let contains = |syntax| pattern(syntax, TextMatch::Contains, operand);
        assert_eq!(contains(PatternSyntax::Like), r"%50!%!_!!\[*?]%");
        assert_eq!(contains(PatternSyntax::LikeWithSets), r"%50!%!_!!\![*?]%");
        assert_eq!(contains(PatternSyntax::Backslash), r"%50\%\_!\\[*?]%");
        assert_eq!(contains(PatternSyntax::Glob), r"*50%_!\[[][*][?]]*");
    }

    #[test]
    fn prefixes_and_suffixes_are_open_at_one_end() {
        assert_eq!(pattern(PatternSyntax::Like, TextMatch::StartsWith, "a"), "a%");
        assert_eq!(pattern(PatternSyntax::Like, TextMatch::EndsWith, "a"), "%a");
    }

    #[test]
    fn a_callers_backslash_makes_the_next_character_literal() {
        let like = |operand| pattern(PatternSyntax::Like, TextMatch::ILike, operand);
        assert_eq!(like("a%b_"), "a%b_");
        assert_eq!(like(r"50\%"), "50!%");
        assert_eq!(like(r"a\\%"), r"a\%");
        assert_eq!(like(r"end\"), r"end\");
        assert_eq!(like(r"wow!\x"), "wow!!x");
    }
}
