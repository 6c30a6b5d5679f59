//! A command's output on its way: the beginning at once, of the rest the end.
//!
//! What a command says first and last are worth most. So the beginning of each stream leaves as it comes, up to a cap; of
//! what follows a ring keeps the last bytes, which leave when the stream has ended, with the number of those between that
//! were dropped. Text is cut between characters only, also where a read or a cap cuts one; bytes that are no UTF-8 become
//! U+FFFD, and the text says so.

use std::collections::VecDeque;

/// How much of one stream is kept, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputCaps {
    /// From its beginning.
    pub head: usize,
    /// To its end.
    pub tail: usize,
}

/// Text of one chunk.
const CHUNK: usize = 64 * 1024;

/// A piece of output, ready to leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text {
    pub(crate) data: String,
    /// Whether bytes were replaced.
    pub(crate) lossy: bool,
    /// Bytes that were dropped before it.
    pub(crate) omitted: u64,
    /// Bytes that it stands for.
    pub(crate) bytes: u64,
}

/// One stream of a command's output.
#[derive(Debug)]
pub(crate) struct Kept {
    head_left: usize,
    /// The beginning of a character whose end has not come yet: at most three bytes.
    begun: Vec<u8>,
    tail: VecDeque<u8>,
    tail_cap: usize,
    /// Dropped bytes that no text has told of.
    omitted: u64,
    /// All dropped bytes.
    dropped: u64,
}

impl Kept {
    pub(crate) fn new(caps: OutputCaps) -> Self {
        Self {
            head_left: caps.head,
            begun: Vec::new(),
            tail: VecDeque::new(),
            tail_cap: caps.tail,
            omitted: 0,
            dropped: 0,
        }
    }

    /// Takes what the command has written, and answers what may leave at once.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Option<Text> {
        let (head, rest) = bytes.split_at(self.head_part(bytes));
        self.head_left -= head.len();
        let text = if head.is_empty() { None } else { self.decode_head(head) };
        if !rest.is_empty() {
            self.head_left = 0;
            let begun = std::mem::take(&mut self.begun);
            self.keep(&begun);
            self.keep(rest);
        }
        text
    }

    /// Nothing leaves before the end from here on.
    pub(crate) fn hold(&mut self) {
        self.head_left = 0;
    }

    /// A text could not leave.
    pub(crate) fn lost(&mut self, text: &Text) {
        self.omitted += text.omitted + text.bytes;
        self.dropped += text.bytes;
    }

    /// What is left when the stream has ended, in pieces of a chunk.
    pub(crate) fn finish(&mut self) -> Vec<Text> {
        let mut bytes = std::mem::take(&mut self.begun);
        bytes.extend(std::mem::take(&mut self.tail));
        if self.omitted > 0 {
            let cut = bytes.iter().take(3).take_while(|byte| is_continuation(**byte)).count();
            bytes.drain(..cut);
            self.drop_count(cut);
        }
        let mut texts = Vec::new();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(character_cut(rest, CHUNK));
            rest = behind;
            let (data, lossy) = decode(piece);
            let omitted = std::mem::take(&mut self.omitted);
            texts.push(Text { data, lossy, omitted, bytes: length(piece.len()) });
        }
        texts
    }

    /// Bytes that left in no text.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// How much of `bytes` belongs to the head: no part of a character, unless it is the last that came.
    fn head_part(&self, bytes: &[u8]) -> usize {
        character_cut(bytes, self.head_left)
    }

    fn decode_head(&mut self, head: &[u8]) -> Option<Text> {
        let mut bytes = std::mem::take(&mut self.begun);
        bytes.extend_from_slice(head);
        let begun = begun_character(&bytes);
        self.begun = bytes.split_off(bytes.len() - begun);
        if bytes.is_empty() {
            return None;
        }
        let (data, lossy) = decode(&bytes);
        Some(Text { data, lossy, omitted: std::mem::take(&mut self.omitted), bytes: length(bytes.len()) })
    }

    fn keep(&mut self, bytes: &[u8]) {
        let surplus = (self.tail.len() + bytes.len()).saturating_sub(self.tail_cap);
        let of_tail = surplus.min(self.tail.len());
        self.tail.drain(..of_tail);
        self.tail.extend(bytes.iter().skip(surplus - of_tail));
        self.drop_count(surplus);
    }

    fn drop_count(&mut self, bytes: usize) {
        self.omitted += length(bytes);
        self.dropped += length(bytes);
    }
}

/// Where to cut `bytes` at `at` or a little before, so that no character is cut.
fn character_cut(bytes: &[u8], at: usize) -> usize {
    if bytes.len() <= at {
        return bytes.len();
    }
    let inside = |cut: &usize| bytes.get(*cut).is_some_and(|byte| is_continuation(*byte));
    let back = (0..3).take_while(|back| at > *back && inside(&(at - back))).count();
    // A chunk of nothing would be no progress; so many bytes without a first one are no character anyway.
    if at > back || at == 0 { at - back } else { at }
}

fn is_continuation(byte: u8) -> bool {
    byte & 0b1100_0000 == 0b1000_0000
}

/// How many bytes at the end are the beginning of a character.
fn begun_character(bytes: &[u8]) -> usize {
    let last = bytes.utf8_chunks().last();
    let invalid = last.map(|chunk| chunk.invalid()).unwrap_or_default();
    match std::str::from_utf8(invalid) {
        Err(error) if error.error_len().is_none() => invalid.len(),
        _ => 0,
    }
}

fn decode(bytes: &[u8]) -> (String, bool) {
    let text = String::from_utf8_lossy(bytes);
    let lossy = matches!(text, std::borrow::Cow::Owned(_));
    (text.into_owned(), lossy)
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kept(head: usize, tail: usize) -> Kept {
        Kept::new(OutputCaps { head, tail })
    }

    fn data(text: Option<Text>) -> String {
        text.map(|text| text.data).unwrap_or_default()
    }

    #[test]
    fn the_beginning_leaves_at_once_and_the_end_when_it_is_known() {
        let mut kept = kept(5, 4);
        assert_eq!(data(kept.push(b"abc")), "abc");
        assert_eq!(data(kept.push(b"defgh")), "de");
        assert_eq!(kept.push(b"ijklm"), None);
        let [text] = kept.finish().try_into().unwrap();
        assert_eq!(text, Text { data: "jklm".to_owned(), lossy: false, omitted: 4, bytes: 4 });
        assert_eq!(kept.dropped(), 4);
    }

    #[test]
    fn output_that_fits_is_whole() {
        let mut kept = kept(4, 4);
        assert_eq!(data(kept.push(b"abcdefgh")), "abcd");
        let [text] = kept.finish().try_into().unwrap();
        assert_eq!((text.data.as_str(), text.omitted, kept.dropped()), ("efgh", 0, 0));
        assert!(kept.finish().is_empty());
    }

    #[test]
    fn a_character_that_comes_in_two_reads_is_one_character() {
        let mut kept = kept(100, 100);
        assert_eq!(data(kept.push(b"a\xe2\x82")), "a");
        assert_eq!(data(kept.push(b"\xacb")), "€b");
        assert!(kept.finish().is_empty());
    }

    #[test]
    fn caps_do_not_cut_characters() {
        let mut kept = kept(4, 4);
        assert_eq!(data(kept.push("ab€".as_bytes())), "ab");
        assert_eq!(kept.push("xx€€".as_bytes()), None);
        // Four bytes before the end are one byte inside of a character.
        let [text] = kept.finish().try_into().unwrap();
        assert_eq!((text.data.as_str(), text.lossy), ("€", false));
        assert_eq!(text.omitted, 3 + 2 + 3);
    }

    #[test]
    fn what_is_no_text_is_replaced_and_said_so() {
        let mut kept = kept(100, 100);
        let text = kept.push(b"a\xff\xfeb").unwrap();
        assert_eq!((text.data.as_str(), text.lossy, text.bytes), ("a\u{fffd}\u{fffd}b", true, 4));
        assert_eq!(kept.push(b"\xe2\x82"), None);
        let [text] = kept.finish().try_into().unwrap();
        assert_eq!((text.data.as_str(), text.lossy), ("\u{fffd}", true));
    }

    #[test]
    fn a_text_that_could_not_leave_is_counted_where_the_next_one_begins() {
        let mut kept = kept(100, 4);
        let text = kept.push(b"abc").unwrap();
        kept.lost(&text);
        kept.hold();
        assert_eq!(kept.push(b"defghi"), None);
        let [text] = kept.finish().try_into().unwrap();
        assert_eq!((text.data.as_str(), text.omitted, kept.dropped()), ("fghi", 5, 5));
    }

    #[test]
    fn memory_is_bounded_by_the_caps_whatever_comes() {
        let mut kept = kept(1_000, 1_000);
        let line = vec![b'y'; 64 * 1024];
        for _ in 0..1_000 {
            kept.push(&line);
            assert!(kept.tail.capacity() <= 4_096, "{}", kept.tail.capacity());
        }
        assert_eq!(kept.finish().iter().map(|text| text.bytes).sum::<u64>(), 1_000);
        assert_eq!(kept.dropped(), 64 * 1024 * 1_000 - 2_000);
    }

    proptest! {
        #[test]
        fn every_byte_is_sent_or_counted_and_the_texts_are_the_beginning_and_the_end(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..20),
            head in 0_usize..100,
            tail in 0_usize..100,
        ) {
            let whole: Vec<u8> = pieces.concat();
            let mut kept = kept(head, tail);
            let mut texts: Vec<Text> = pieces.iter().filter_map(|piece| kept.push(piece)).collect();
            texts.extend(kept.finish());
            let sent: u64 = texts.iter().map(|text| text.bytes).sum();
            prop_assert_eq!(sent + kept.dropped(), length(whole.len()));
            prop_assert!(sent <= length(head + tail + 3));
            prop_assert!(texts.iter().map(|text| text.omitted).sum::<u64>() <= kept.dropped());
            if kept.dropped() == 0 {
                let text: String = texts.into_iter().map(|text| text.data).collect();
                prop_assert_eq!(text, String::from_utf8_lossy(&whole));
            }
        }

        #[test]
        fn text_stays_text(words in proptest::collection::vec("\\PC{0,12}", 0..20), head in 0_usize..60, tail in 0_usize..60) {
            let whole = words.concat();
            let mut kept = kept(head, tail);
            let mut head_text = String::new();
            for word in &words {
                // As a pipe cuts it: anywhere.
                for piece in word.as_bytes().chunks(3) {
                    let text = kept.push(piece);
                    prop_assert!(text.iter().all(|text| !text.lossy));
                    head_text.push_str(&data(text));
                }
            }
            let tail_texts = kept.finish();
            prop_assert!(tail_texts.iter().all(|text| !text.lossy), "{:?}", tail_texts);
            let tail_text: String = tail_texts.into_iter().map(|text| text.data).collect();
            prop_assert!(whole.starts_with(&head_text));
            prop_assert!(whole.ends_with(&tail_text));
        }
    }
}
