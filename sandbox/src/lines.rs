//! Output as lines.

use memchr::memchr;

/// Cuts the bytes of one stream into lines, whatever the pieces are in which they come.
///
/// A line may be empty, and the last one need not end with a newline. Bytes that are no UTF-8 are replaced, a character
/// that lies across two pieces is not. What is longer than a limit comes as several lines, so that memory is bounded.
#[derive(Debug)]
pub struct Lines {
    limit: usize,
    partial: Vec<u8>,
}

impl Lines {
    /// Lines of at most `limit` bytes, of which there must be room for one character.
    pub fn new(limit: usize) -> Self {
        Self { limit: limit.max(4), partial: Vec::new() }
    }

    /// Takes the next piece and gives `each` line that it completes.
    pub fn push(&mut self, piece: &[u8], mut each: impl FnMut(&str)) {
        let mut rest = piece;
        while let Some(end) = memchr(b'\n', rest) {
            let (line, after) = rest.split_at(end);
            self.complete(line, &mut each);
            rest = after.get(1..).unwrap_or_default();
        }
        self.partial.extend_from_slice(rest);
        self.cut(&mut each);
    }

    /// Gives what came after the last newline, if anything did.
    pub fn finish(mut self, mut each: impl FnMut(&str)) {
        if !self.partial.is_empty() {
            self.complete(&[], &mut each);
        }
    }

    fn complete(&mut self, line: &[u8], each: &mut impl FnMut(&str)) {
        if self.partial.is_empty() && line.len() <= self.limit {
            return each(&String::from_utf8_lossy(line));
        }
        self.partial.extend_from_slice(line);
        self.cut(each);
        let last = std::mem::take(&mut self.partial);
        each(&String::from_utf8_lossy(&last));
    }

    /// Gives away what is beyond the limit.
    fn cut(&mut self, each: &mut impl FnMut(&str)) {
        let mut start = 0;
        while let Some(rest) = self.partial.get(start..).filter(|rest| rest.len() > self.limit) {
            let length = boundary(rest, self.limit);
            each(&String::from_utf8_lossy(rest.get(..length).unwrap_or_default()));
            start += length;
        }
        if start > 0 {
            self.partial.drain(..start);
        }
    }
}

/// The largest length up to `limit` that does not cut a character in two.
fn boundary(bytes: &[u8], limit: usize) -> usize {
    let continues = |at: usize| bytes.get(at).is_some_and(|byte| byte & 0b1100_0000 == 0b1000_0000);
    // A character has at most four bytes; more continuations than that are no text.
    (limit.saturating_sub(3)..=limit).rev().find(|at| !continues(*at)).unwrap_or(limit)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(limit: usize, pieces: &[&[u8]]) -> Vec<String> {
        let mut found = Vec::new();
        let mut lines = Lines::new(limit);
        for piece in pieces {
            lines.push(piece, |line| found.push(line.to_owned()));
        }
        lines.finish(|line| found.push(line.to_owned()));
        found
    }

    #[test]
    fn empty_lines_and_the_last_one_without_a_newline_are_lines() {
        assert_eq!(lines(100, &[b"a\n\nb"]), ["a", "", "b"]);
        assert_eq!(lines(100, &[b"a\n"]), ["a"]);
        assert_eq!(lines(100, &[b""]), [""; 0]);
    }

    #[test]
    fn a_character_across_two_pieces_stays_whole_and_what_is_no_text_is_replaced() {
        let text = "grün → ok".as_bytes();
        for cut in 0..text.len() {
            assert_eq!(lines(100, &[&text[..cut], &text[cut..]]), ["grün → ok"]);
        }
        assert_eq!(lines(100, &[b"a\xffb\n"]), ["a\u{fffd}b"]);
    }

    #[test]
    fn a_line_without_end_is_cut_between_characters() {
        assert_eq!(lines(5, &[b"abcdefgh\ni"]), ["abcde", "fgh", "i"]);
        assert_eq!(lines(5, &["abcd€".as_bytes()]), ["abcd", "€"]);
        assert_eq!(lines(4, &[&[0x80; 10]]).concat().chars().count(), 10);
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(text in "[a-c\\n€]{0,60}", cut in 0usize..60, limit in 4usize..12) {
            let bytes = text.as_bytes();
            let cut = cut.min(bytes.len());
            let whole = lines(limit, &[bytes]);
            prop_assert_eq!(&lines(limit, &[&bytes[..cut], &bytes[cut..]]), &whole);
            prop_assert!(whole.iter().all(|line| line.len() <= limit));
            prop_assert_eq!(whole.concat(), text.replace('\n', ""));
        }
    }
}
