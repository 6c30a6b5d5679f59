//! String operators. Case is folded by Unicode's lower case, character by character.

use protocol::TextMatch;

/// A string operator with its operand.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    pieces: Vec<Piece>,
    fold: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    /// This character.
    Literal(char),
    /// Any one character.
    One,
    /// Any run of characters, also of none, also across lines.
    Run,
}

impl Pattern {
    pub(super) fn new(text_match: TextMatch, operand: &str) -> Self {
        let fold = text_match != TextMatch::Like;
        let operand = if fold { operand.to_lowercase() } else { operand.to_owned() };
        let literal = operand.chars().map(Piece::Literal);
        let run = || std::iter::once(Piece::Run);
        let pieces = match text_match {
            TextMatch::ILike | TextMatch::Like => like(&operand),
            TextMatch::Contains => run().chain(literal).chain(run()).collect(),
            TextMatch::StartsWith => literal.chain(run()).collect(),
            TextMatch::EndsWith => run().chain(literal).collect(),
        };
        Self { pieces, fold }
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        let text: Vec<char> =
            if self.fold { text.to_lowercase().chars().collect() } else { text.chars().collect() };
        matches(&self.pieces, &text)
    }
}

/// `\` makes the next character literal; at the end it is itself.
fn like(pattern: &str) -> Vec<Piece> {
    let mut characters = pattern.chars();
    let mut pieces = Vec::new();
    while let Some(character) = characters.next() {
        pieces.push(match character {
            '%' => Piece::Run,
            '_' => Piece::One,
            '\\' => Piece::Literal(characters.next().unwrap_or('\\')),
            literal => Piece::Literal(literal),
        });
    }
    pieces
}

/// Greedy with one point to come back to: the latest run. Time is at most the product of the lengths.
fn matches(pieces: &[Piece], text: &[char]) -> bool {
    let (mut piece, mut at) = (0, 0);
    let mut latest_run: Option<(usize, usize)> = None;
    while let Some(character) = text.get(at) {
        let fits = match pieces.get(piece) {
            Some(Piece::Run) => {
                latest_run = Some((piece, at));
                piece += 1;
                continue;
            }
            Some(Piece::One) => true,
            Some(Piece::Literal(literal)) => literal == character,
            None => false,
        };
        if fits {
            (piece, at) = (piece + 1, at + 1);
        } else if let Some((run, start)) = latest_run {
            latest_run = Some((run, start + 1));
            (piece, at) = (run + 1, start + 1);
        } else {
            return false;
        }
    }
    pieces.iter().skip(piece).all(|piece| *piece == Piece::Run)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ilike(pattern: &str, text: &str) -> bool {
        Pattern::new(TextMatch::ILike, pattern).matches(text)
    }

    #[test]
    fn patterns_match_whole_values_without_case() {
        assert!(ilike("a%", "ABC") && ilike("a_c", "abc") && ilike(r"50\%", "50%") && ilike("", ""));
        assert!(!ilike(r"50\%", "500") && !ilike("a.c", "abc") && !ilike("b", "abc") && !ilike("", "a"));
        assert!(ilike("a%", "a\nb"), "a run crosses lines, as in every engine");
        assert!(ilike("ünï", "ÜNÏ") && ilike("_", "🦀") && ilike("a\\", "a\\"));
        assert!(ilike("%a%b%c%", "xxaxxbxbxxc") && !ilike("%a%b%c%d", "xxaxxbxbxxc"));
    }

    #[test]
    fn like_heeds_case() {
        assert!(Pattern::new(TextMatch::Like, "A%").matches("Abc"));
        assert!(!Pattern::new(TextMatch::Like, "A%").matches("abc"));
    }

    #[test]
    fn operands_of_the_others_are_literal() {
        assert!(Pattern::new(TextMatch::Contains, "50%").matches("at 50% off"));
        assert!(!Pattern::new(TextMatch::Contains, "50%").matches("at 500 off"));
        assert!(Pattern::new(TextMatch::StartsWith, r"a\_").matches(r"A\_b"));
        assert!(Pattern::new(TextMatch::EndsWith, "%").matches("100%"));
        assert!(!Pattern::new(TextMatch::EndsWith, "_").matches("100"));
    }

    #[test]
    fn a_hostile_pattern_ends_soon() {
        let pattern = format!("{}b", "%a".repeat(200));
        assert!(!ilike(&pattern, &"a".repeat(5_000)));
    }
}
