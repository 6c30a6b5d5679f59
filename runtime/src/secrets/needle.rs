//! One secret to look for, in one alphabet.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

/// Text to look for, where each character may be spelled in several ways.
#[derive(Clone)]
pub(super) struct Needle {
    chars: Vec<char>,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Anywhere.
    Text,
    /// Only where no letter, digit or underscore is beside it.
    Word,
    /// Base64. The character before and after the needle may hold some of the secret's bits and then goes too.
    Base64 { before: bool, after: bool },
    /// The whole base64 of a short secret, where nothing of that alphabet is beside it.
    Base64Word,
}

impl Needle {
    pub(super) fn text(secret: &str) -> Self {
        Self { chars: secret.chars().collect(), kind: Kind::Text }
    }

    pub(super) fn word(secret: &str) -> Self {
        Self { chars: secret.chars().collect(), kind: Kind::Word }
    }

    pub(super) fn base64_word(secret: &str) -> Self {
        Self { chars: STANDARD_NO_PAD.encode(secret).chars().collect(), kind: Kind::Base64Word }
    }

    /// The base64 of `secret` for each place that it can have in a longer text: at the beginning of a group of three
    /// bytes, one byte later and two bytes later. Each needle has the characters that depend on the secret alone.
    pub(super) fn base64(secret: &str) -> [Self; 3] {
        [0, 1, 2].map(|shift| {
            let mut bytes = vec![0; shift];
            bytes.extend_from_slice(secret.as_bytes());
            let first = (8 * shift).div_ceil(6);
            let whole = 8 * bytes.len() / 6;
            let chars = STANDARD_NO_PAD.encode(&bytes).chars().take(whole).skip(first).collect();
            let kind = Kind::Base64 { before: shift > 0, after: !(8 * bytes.len()).is_multiple_of(6) };
            Self { chars, kind }
        })
    }

    /// The range of `text` that goes if the needle is at `start`.
    pub(super) fn find_at(&self, text: &str, start: usize) -> Option<Range<usize>> {
        let end = self.match_at(text, start)?;
        let (before, after) = (text.get(..start)?, text.get(end..)?);
        match self.kind {
            Kind::Text => Some(start..end),
            Kind::Word => stands_alone(before, after, is_word).then_some(start..end),
            Kind::Base64Word => stands_alone(before, after, is_base64).then(|| start..end + padding(after)),
            Kind::Base64 { before: left, after: right } => {
                let left = if left { last_of_base64(before) } else { 0 };
                let right = if right { first_of_base64(after) } else { 0 };
                let rest = after.get(right..).unwrap_or_default();
                Some(start - left..end + right + padding(rest))
            }
        }
    }

    /// Where the needle ends if it begins at `start`.
    fn match_at(&self, text: &str, start: usize) -> Option<usize> {
        let mut rest = text.get(start..)?;
        if !self.may_begin_with(rest.bytes().next()?) {
            return None;
        }
        for wanted in &self.chars {
            let length = self.spelled(*wanted, rest)?;
            rest = rest.get(length..)?;
        }
        Some(text.len() - rest.len())
    }

    /// Sorts out nearly all places by one look: what is not the first character as it is begins with one of a few bytes.
    fn may_begin_with(&self, byte: u8) -> bool {
        let first = self.chars.first().map(|c| c.encode_utf8(&mut [0; 4]).bytes().next());
        first == Some(Some(byte)) || matches!(byte, b'%' | b'\\' | b'+' | b'-' | b'_')
    }

    /// How many bytes at the beginning of `text` spell `wanted`.
    fn spelled(&self, wanted: char, text: &str) -> Option<usize> {
        spelled(wanted, text).or_else(|| {
            let safe = match (self.is_base64(), wanted) {
                (true, '+') => '-',
                (true, '/') => '_',
                _ => return None,
            };
            spelled(safe, text)
        })
    }

    fn is_base64(&self) -> bool {
        matches!(self.kind, Kind::Base64 { .. } | Kind::Base64Word)
    }
}

/// As it is, URL-encoded, or escaped.
fn spelled(wanted: char, text: &str) -> Option<usize> {
    let first = text.bytes().next()?;
    match first {
        b'%' => percent(wanted, text),
        b'\\' => escaped(wanted, text),
        b'+' if wanted == ' ' => Some(1),
        _ => None,
    }
    .or_else(|| text.starts_with(wanted).then(|| wanted.len_utf8()))
}

/// `%XX` for each byte of the character.
fn percent(wanted: char, text: &str) -> Option<usize> {
    let mut bytes = [0; 4];
    let mut rest = text;
    for byte in wanted.encode_utf8(&mut bytes).bytes() {
        let (digits, after) = rest.strip_prefix('%')?.split_at_checked(2)?;
        if hexadecimal(digits)? != u32::from(byte) {
            return None;
        }
        rest = after;
    }
    Some(text.len() - rest.len())
}

/// `\n` and the like, `\uXXXX` of JSON with surrogate pairs, `\u{..}` of Rust's Debug.
fn escaped(wanted: char, text: &str) -> Option<usize> {
    let after = text.strip_prefix('\\')?;
    let short = match wanted {
        '\n' => 'n',
        '\r' => 'r',
        '\t' => 't',
        '\u{8}' => 'b',
        '\u{c}' => 'f',
        '\0' => '0',
        '"' | '\\' | '/' | '\'' => wanted,
        _ => 'u',
    };
    if short != 'u' && after.starts_with(short) {
        return Some(2);
    }
    braced(wanted, after).map(|length| length + 1).or_else(|| units(wanted, text))
}

fn braced(wanted: char, text: &str) -> Option<usize> {
    let inner = text.strip_prefix("u{")?;
    let digits = inner.bytes().take(6).take_while(u8::is_ascii_hexdigit).count();
    let (digits, after) = inner.split_at_checked(digits)?;
    (hexadecimal(digits)? == u32::from(wanted) && after.starts_with('}')).then_some(digits.len() + 3)
}

fn units(wanted: char, text: &str) -> Option<usize> {
    let mut units = [0; 2];
    let mut rest = text;
    for unit in wanted.encode_utf16(&mut units) {
        let (digits, after) = rest.strip_prefix("\\u")?.split_at_checked(4)?;
        if hexadecimal(digits)? != u32::from(*unit) {
            return None;
        }
        rest = after;
    }
    Some(text.len() - rest.len())
}

fn hexadecimal(digits: &str) -> Option<u32> {
    // `from_str_radix` would accept a sign.
    if digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        u32::from_str_radix(digits, 16).ok()
    } else {
        None
    }
}

fn stands_alone(before: &str, after: &str, inside: fn(char) -> bool) -> bool {
    !before.ends_with(inside) && !after.starts_with(inside)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn is_base64(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '-' | '_')
}

/// The length of the base64 character that `text` begins with, also where it is URL-encoded; 0 if there is none.
fn first_of_base64(text: &str) -> usize {
    if text.starts_with(is_base64) {
        return 1;
    }
    ['+', '/'].into_iter().find_map(|c| percent(c, text)).unwrap_or(0)
}

/// The same for the end of `text`.
fn last_of_base64(text: &str) -> usize {
    let encoded = text.len().checked_sub(3).and_then(|start| text.get(start..)).map_or(0, first_of_base64);
    if encoded == 3 { 3 } else { usize::from(text.ends_with(is_base64)) }
}

/// The length of the `=` signs after base64, at most two, also where they are URL-encoded.
fn padding(after: &str) -> usize {
    let mut rest = after;
    for _ in 0..2 {
        rest = spelled('=', rest).and_then(|length| rest.get(length..)).unwrap_or(rest);
    }
    after.len() - rest.len()
}
