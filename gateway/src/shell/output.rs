//! What a program has written, as far as it is kept: the beginning and the end of each stream.
//!
//! The runner leaves out the middle of long output already and says so; whatever its limits are, these are ours.

use protocol::{ExecChunk, Stream, Truncated};

use super::record::{KeptOutput, MAX_OUTPUT};

/// Bytes of each stream that an answer holds, half of them of its beginning and half of its end.
const MAX_COLLECTED: usize = 256 * 1024;

/// The output of one job.
#[derive(Debug)]
pub(crate) struct Collected {
    stdout: HeadTail,
    stderr: HeadTail,
    /// Whether bytes that are no text were replaced.
    pub(crate) is_lossy: bool,
    /// What the runner says, at the end, that it has left out.
    reported: Truncated,
}

impl Default for Collected {
    fn default() -> Self {
        let stream = || HeadTail::new(MAX_COLLECTED);
        Self { stdout: stream(), stderr: stream(), is_lossy: false, reported: Truncated::default() }
    }
}

impl Collected {
    /// Adds what has come.
    pub(crate) fn add(&mut self, chunk: &ExecChunk) {
        self.is_lossy |= chunk.lossy;
        let stream = match chunk.stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        stream.skip(chunk.omitted_bytes);
        stream.push(&chunk.data);
    }

    /// Notes what the runner says that it has left out.
    pub(crate) fn report(&mut self, truncated: Option<Truncated>) {
        self.reported = truncated.unwrap_or_default();
    }

    /// Standard output, with a line where something is left out.
    pub(crate) fn stdout(&self) -> String {
        self.stdout.text(self.reported.stdout_bytes)
    }

    /// The same of the standard error.
    pub(crate) fn stderr(&self) -> String {
        self.stderr.text(self.reported.stderr_bytes)
    }

    /// Whether nothing was written.
    pub(crate) fn is_empty(&self) -> bool {
        self.stdout.is_empty() && self.stderr.is_empty()
    }

    /// Bytes that are left out, here and at the runner; nothing when all is there.
    pub(crate) fn truncated(&self) -> Option<Truncated> {
        let truncated = Truncated {
            stdout_bytes: self.stdout.left_out(self.reported.stdout_bytes),
            stderr_bytes: self.stderr.left_out(self.reported.stderr_bytes),
        };
        (truncated != Truncated::default()).then_some(truncated)
    }

    /// As much as the audit log keeps.
    pub(crate) fn kept(&self) -> KeptOutput {
        let (stdout, stderr) = (self.stdout.within(MAX_OUTPUT), self.stderr.within(MAX_OUTPUT));
        let (stdout_bytes, stderr_bytes) = (self.reported.stdout_bytes, self.reported.stderr_bytes);
        KeptOutput {
            stdout: stdout.text(stdout_bytes),
            stderr: stderr.text(stderr_bytes),
            stdout_left_out: stdout.left_out(stdout_bytes),
            stderr_left_out: stderr.left_out(stderr_bytes),
        }
    }
}

/// The beginning and the end of a text, each at most half of a limit, and the number of bytes between them.
#[derive(Debug)]
struct HeadTail {
    half: usize,
    head: String,
    /// Up to twice its half, so that not every piece moves it.
    tail: String,
    is_head_complete: bool,
    /// Bytes that were here and did not fit.
    dropped: u64,
    /// Bytes that never came.
    omitted: u64,
}

impl HeadTail {
    fn new(limit: usize) -> Self {
        Self {
            half: limit / 2,
            head: String::new(),
            tail: String::new(),
            is_head_complete: false,
            dropped: 0,
            omitted: 0,
        }
    }

    fn push(&mut self, text: &str) {
        let mut rest = text;
        if !self.is_head_complete {
            let (fits, more) = split_floor(text, self.half.saturating_sub(self.head.len()));
            self.head.push_str(fits);
            self.is_head_complete = !more.is_empty();
            rest = more;
        }
        let (passed, end) = split_last(rest, self.half);
        if !passed.is_empty() {
            // What is longer than the tail leaves nothing of what was in it.
            self.drop_tail();
            self.dropped += count(passed);
        }
        self.tail.push_str(end);
        if self.tail.len() > 2 * self.half {
            self.shorten();
        }
    }

    /// So many bytes of the text are missing here. There is one gap: what stands between this one and an earlier one goes.
    fn skip(&mut self, bytes: u64) {
        if bytes > 0 {
            self.is_head_complete = true;
            self.omitted = self.omitted.saturating_add(bytes);
            self.drop_tail();
        }
    }

    fn drop_tail(&mut self) {
        self.dropped += count(&self.tail);
        self.tail.clear();
    }

    fn shorten(&mut self) {
        let (passed, end) = split_last(&self.tail, self.half);
        self.dropped += count(passed);
        self.tail = end.to_owned();
    }

    fn is_empty(&self) -> bool {
        self.head.is_empty() && self.tail.is_empty()
    }

    /// Bytes that are missing; `reported` are those that the runner has left out, also behind the last piece.
    fn left_out(&self, reported: u64) -> u64 {
        let (passed, _) = split_last(&self.tail, self.half);
        (self.dropped + count(passed)).saturating_add(self.omitted.max(reported))
    }

    fn text(&self, reported: u64) -> String {
        let (_, end) = split_last(&self.tail, self.half);
        match self.left_out(reported) {
            0 => format!("{}{end}", self.head),
            bytes => format!("{}\n[… {bytes} bytes left out …]\n{end}", self.head),
        }
    }

    /// The same within a smaller limit.
    fn within(&self, limit: usize) -> Self {
        let mut smaller = Self::new(limit);
        smaller.push(&self.head);
        smaller.skip(self.omitted);
        if self.dropped > 0 {
            smaller.is_head_complete = true;
            smaller.drop_tail();
            smaller.dropped += self.dropped;
        }
        smaller.push(&self.tail);
        smaller
    }
}

/// At most `most` bytes of the beginning, and the rest. No character is split.
fn split_floor(text: &str, most: usize) -> (&str, &str) {
    text.split_at_checked(text.floor_char_boundary(most)).unwrap_or((text, ""))
}

/// What comes before the last `most` bytes, and those. No character is split.
fn split_last(text: &str, most: usize) -> (&str, &str) {
    let start = text.ceil_char_boundary(text.len().saturating_sub(most));
    text.split_at_checked(start).unwrap_or(("", text))
}

fn count(text: &str) -> u64 {
    u64::try_from(text.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pieces: &[&str], limit: usize) -> HeadTail {
        let mut text = HeadTail::new(limit);
        pieces.iter().for_each(|piece| text.push(piece));
        text
    }

    #[test]
    fn what_fits_is_kept_as_it_is() {
        let text = of(&["ab", "cd", "efgh"], 8);
        assert_eq!((text.text(0), text.left_out(0)), ("abcdefgh".to_owned(), 0));
    }

    #[test]
    fn of_what_does_not_fit_beginning_and_end_are_kept_however_it_comes() {
        let whole: String = ('a'..='z').collect();
        let letters: Vec<String> = whole.chars().map(String::from).collect();
        let letters: Vec<&str> = letters.iter().map(String::as_str).collect();
        for pieces in [&letters[..], &[whole.as_str()], &["abcdefghij", "klmnopqrstuvw", "xyz"]] {
            let text = of(pieces, 8);
            assert_eq!(text.text(0), "abcd\n[… 18 bytes left out …]\nwxyz", "{pieces:?}");
            assert!(text.tail.len() <= 8, "{}", text.tail.len());
        }
    }

    #[test]
    fn no_character_is_split() {
        let text = of(&["äöüäöü"], 6);
        assert_eq!(text.text(0), "ä\n[… 8 bytes left out …]\nü");
        let piece = "€".repeat(100);
        for limit in 0..32 {
            let text = of(&[&piece, "x", &piece], limit);
            assert_eq!(
                text.head.len() + text.tail.len() + usize::try_from(text.dropped).unwrap(),
                601,
                "{limit}"
            );
        }
    }

    #[test]
    fn a_gap_of_the_runner_is_where_it_was() {
        let mut text = of(&["ab"], 100);
        text.skip(7);
        text.push("yz");
        assert_eq!(text.text(0), "ab\n[… 7 bytes left out …]\nyz");
        assert_eq!(text.text(7), text.text(0), "the runner tells of the same bytes at the end");
        text.skip(1);
        text.push("!");
        assert_eq!(text.text(0), "ab\n[… 10 bytes left out …]\n!");
        let log = text.within(2);
        assert_eq!(log.text(0), "a\n[… 11 bytes left out …]\n!");
    }

    #[test]
    fn a_gap_at_the_very_end_is_told_too() {
        let chunk = |stream, data: &str| ExecChunk {
            job_id: "j".to_owned(),
            stream,
            data: data.to_owned(),
            lossy: stream == Stream::Stderr,
            omitted_bytes: 0,
            seq: 0,
        };
        let mut output = Collected::default();
        output.add(&chunk(Stream::Stdout, "out"));
        assert!(output.truncated().is_none() && !output.is_lossy);
        output.add(&chunk(Stream::Stderr, "err"));
        output.report(Some(Truncated { stdout_bytes: 3, stderr_bytes: 0 }));
        assert_eq!(output.stdout(), "out\n[… 3 bytes left out …]\n");
        assert_eq!(output.stderr(), "err");
        assert_eq!(output.truncated(), Some(Truncated { stdout_bytes: 3, stderr_bytes: 0 }));
        assert!(output.is_lossy && !output.is_empty());
    }

    #[test]
    fn the_log_keeps_less_than_the_answer() {
        let mut output = Collected::default();
        let line = "0123456789abcdef".repeat(1024);
        for seq in 0..100 {
            let data = line.clone();
            output.add(&ExecChunk {
                job_id: "j".to_owned(),
                stream: Stream::Stdout,
                data,
                lossy: false,
                omitted_bytes: 0,
                seq,
            });
        }
        let total = u64::try_from(line.len() * 100).unwrap();
        let answered = u64::try_from(MAX_COLLECTED).unwrap();
        assert_eq!(output.truncated().unwrap().stdout_bytes, total - answered);
        let kept = output.kept();
        assert_eq!(kept.stdout_left_out, total - u64::try_from(MAX_OUTPUT).unwrap());
        assert!(kept.stdout.len() < MAX_OUTPUT + 100);
        assert!(kept.stdout.starts_with("0123") && kept.stdout.ends_with("cdef"));
    }
}
