//! Takes secrets out of text that is about to leave: a driver's error message, a log line.
//!
//! A message may hold a secret as it is, inside a URL, inside JSON or Debug output, or in base64. Rather than listing
//! every encoding of every secret, `needle` compares the text character by character and lets each one appear in any
//! of its spellings.

mod needle;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use protocol::Secret;
use url::Url;

use needle::Needle;

/// What stands in place of a secret.
pub const REDACTED: &str = "[redacted]";

/// Shorter secrets are replaced only where they stand alone: a password `a` must not eat every `a`.
const SHORT: usize = 4;
/// A line of a longer secret (a PEM key) that is a secret of its own.
const LONG_LINE: usize = 16;

/// Knows the live secrets and replaces them.
#[derive(Clone, Default)]
pub struct Scrubber {
    needles: Vec<Needle>,
}

impl Scrubber {
    /// Replaces `secrets`, and with each of them: the password of a secret that is a URL, and the lines of one that has
    /// several. Empty secrets are left out.
    pub fn new<'s>(secrets: impl IntoIterator<Item = &'s Secret>) -> Self {
        let mut texts: Vec<String> =
            secrets.into_iter().flat_map(parts).filter(|text| !text.is_empty()).collect();
        texts.sort_unstable();
        texts.dedup();
        Self { needles: texts.iter().flat_map(|text| needles(text)).collect() }
    }

    /// `text` with every secret replaced by [`REDACTED`]: as it is, URL-encoded (`%XX` in either case, `+` for a
    /// blank), escaped as in JSON or in Rust's `Debug`, and in base64 (standard or URL-safe, padded or not, also
    /// within a longer text that was encoded as a whole). Borrowed if there is none.
    pub fn scrub<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let found = self.find(text);
        if found.is_empty() { Cow::Borrowed(text) } else { Cow::Owned(replace(text, &found)) }
    }

    /// The places of all secrets, in order, overlapping ones merged.
    fn find(&self, text: &str) -> Vec<Range<usize>> {
        let mut found: Vec<Range<usize>> = Vec::new();
        for (start, _) in text.char_indices() {
            for needle in &self.needles {
                let Some(range) = needle.find_at(text, start) else { continue };
                match found.last_mut() {
                    Some(last) if range.start < last.end => {
                        last.start = last.start.min(range.start);
                        last.end = last.end.max(range.end);
                    }
                    _ => found.push(range),
                }
            }
        }
        found
    }
}

/// Shows how many there are.
impl fmt::Debug for Scrubber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scrubber").field("needles", &self.needles.len()).finish()
    }
}

fn replace(text: &str, places: &[Range<usize>]) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut end = 0;
    for place in places {
        clean.push_str(text.get(end..place.start).unwrap_or_default());
        clean.push_str(REDACTED);
        end = place.end;
    }
    clean.push_str(text.get(end..).unwrap_or_default());
    clean
}

/// A secret and the secrets within it.
fn parts(secret: &Secret) -> Vec<String> {
    let text = secret.expose();
    let mut parts = vec![text.to_owned()];
    if text.contains('\n') {
        let lines = text.lines().map(str::trim);
        parts.extend(
            lines.filter(|line| line.len() >= LONG_LINE && !line.starts_with("-----")).map(str::to_owned),
        );
    }
    if let Some(password) = Url::parse(text).ok().and_then(|url| url.password().map(str::to_owned)) {
        // The needle of the decoded password finds the encoded one as well.
        parts.push(percent_encoding::percent_decode_str(&password).decode_utf8_lossy().into_owned());
    }
    parts
}

fn needles(text: &str) -> Vec<Needle> {
    if text.chars().count() < SHORT {
        return vec![Needle::word(text), Needle::base64_word(text)];
    }
    let mut needles = vec![Needle::text(text)];
    needles.extend(Needle::base64(text));
    needles
}

#[cfg(test)]
mod tests;
