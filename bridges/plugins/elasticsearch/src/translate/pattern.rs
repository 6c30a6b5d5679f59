//! String operators as wildcards.
//!
//! The engine's wildcards know case for ASCII alone. Where an operand has another letter with case, any run of characters
//! stands in for it: what is found so is looked at again.

use semilayer_plugin::options::TextMatch;
use serde_json::{Value as Json, json};

/// A pattern, and whether it finds exactly what the operator means.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pattern {
    pub(super) query: Json,
    pub(super) is_exact: bool,
}

/// What a pattern is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    Literal(char),
    One,
    Run,
}

/// The query that finds values of `field`.
pub(super) fn pattern(field: &str, text_match: TextMatch, operand: &str) -> Pattern {
    let pieces = pieces(text_match, operand);
    let folds = text_match != TextMatch::Like;
    if pieces.is_empty() {
        return Pattern { query: json!({"term": {field: ""}}), is_exact: true };
    }
    let is_exact = !folds || pieces.iter().all(|piece| !needs_folding(*piece));
    let value: String = pieces.iter().map(|piece| written(*piece, folds)).collect();
    let mut wildcard = json!({"value": value});
    if let (true, Some(options)) = (folds, wildcard.as_object_mut()) {
        options.insert("case_insensitive".to_owned(), json!(true));
    }
    Pattern { query: json!({"wildcard": {field: wildcard}}), is_exact }
}

fn pieces(text_match: TextMatch, operand: &str) -> Vec<Piece> {
    let literal = operand.chars().map(Piece::Literal);
    match text_match {
        TextMatch::ILike | TextMatch::Like => like(operand),
        TextMatch::Contains => std::iter::once(Piece::Run).chain(literal).chain([Piece::Run]).collect(),
        TextMatch::StartsWith => literal.chain([Piece::Run]).collect(),
        TextMatch::EndsWith => std::iter::once(Piece::Run).chain(literal).collect(),
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

fn written(piece: Piece, folds: bool) -> String {
    match piece {
        Piece::Run => "*".to_owned(),
        Piece::One => "?".to_owned(),
        piece if folds && needs_folding(piece) => "*".to_owned(),
        Piece::Literal(special @ ('*' | '?' | '\\')) => format!("\\{special}"),
        Piece::Literal(literal) => literal.to_string(),
    }
}

/// Whether it is a letter that the engine does not know the other case of.
fn needs_folding(piece: Piece) -> bool {
    match piece {
        Piece::Literal(literal) if !literal.is_ascii() => {
            !literal.to_lowercase().eq([literal]) || !literal.to_uppercase().eq([literal])
        }
        Piece::Literal(_) | Piece::One | Piece::Run => false,
    }
}
