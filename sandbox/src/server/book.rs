//! What a run has written, line by line: the beginning and the end of it, in bounded memory.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::OutputStream;

/// Bytes of the first lines that are kept, and of the last ones. A line counts with what keeping it costs.
const HEAD_BYTES: usize = 256 * 1024;
const TAIL_BYTES: usize = 256 * 1024;
const LINE_COST: usize = 32;
/// A longer line comes as several.
pub(crate) const LINE_LIMIT: usize = 64 * 1024;

/// The lines of one run.
#[derive(Debug)]
pub(crate) struct Book {
    pages: Mutex<Pages>,
    /// How many lines there have been; what readers wait on.
    written: watch::Sender<u64>,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Line {
    /// Its number, from 1.
    #[serde(rename = "n")]
    pub(crate) number: u64,
    /// Where it was written to.
    pub(crate) stream: OutputStream,
    /// Without its newline.
    pub(crate) line: Box<str>,
}

/// Lines between the first and the last that are not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub(crate) struct Omitted {
    /// How many.
    pub(crate) lines: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
}

/// What follows a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Following {
    /// Lines in between that are not kept.
    pub(crate) missed: u64,
    /// The next lines that are.
    pub(crate) lines: Vec<Line>,
    /// Whether there will be no more after these.
    pub(crate) ended: bool,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Pages {
    head: Vec<Line>,
    tail: VecDeque<Line>,
    omitted: Omitted,
    written: u64,
    #[serde(skip)]
    head_bytes: usize,
    #[serde(skip)]
    tail_bytes: usize,
    #[serde(skip)]
    ended: bool,
}

impl Default for Book {
    fn default() -> Self {
        Self { pages: Mutex::default(), written: watch::Sender::new(0) }
    }
}

impl Book {
    /// Writes lines as `each` gives them.
    pub(crate) fn write(&self, stream: OutputStream, lines: impl FnOnce(&mut dyn FnMut(&str))) {
        let mut pages = self.pages();
        lines(&mut |line| pages.write(stream, line));
        self.tell(pages);
    }

    /// Whether nothing was written.
    pub(crate) fn is_empty(&self) -> bool {
        self.pages().written == 0
    }

    /// There will be no more lines.
    pub(crate) fn end(&self) {
        let mut pages = self.pages();
        pages.ended = true;
        self.tell(pages);
    }

    /// All lines that are kept, one after the other, with a line in place of those that are not.
    pub(crate) fn lines(&self) -> (Vec<String>, Option<Omitted>) {
        let pages = self.pages();
        let omitted = Some(pages.omitted).filter(|omitted| omitted.lines > 0);
        let gap =
            omitted.map(|Omitted { lines, bytes }| format!("[… {lines} lines, {bytes} bytes left out …]"));
        let text = |line: &Line| String::from(line.line.clone());
        (pages.head.iter().map(text).chain(gap).chain(pages.tail.iter().map(text)).collect(), omitted)
    }

    /// Up to `most` lines after the one with this number.
    pub(crate) fn after(&self, number: u64, most: usize) -> Following {
        let pages = self.pages();
        // Numbers begin anew where a run is found again, and its log may begin later than before.
        let number = if number > pages.written { 0 } else { number };
        let all = || pages.head.iter().chain(&pages.tail);
        let mut next = None;
        // What is missed lies before the first line of an answer, never between two.
        let adjoins = |line: &&Line| {
            let adjoins = next.is_none_or(|next| next == line.number);
            next = Some(line.number.saturating_add(1));
            adjoins
        };
        let lines: Vec<Line> =
            all().skip_while(|line| line.number <= number).take_while(adjoins).take(most).cloned().collect();
        let first = lines.first().map_or(pages.written.saturating_add(1), |line| line.number);
        let missed = first.saturating_sub(number.saturating_add(1));
        let last = lines.last().map_or(pages.written, |line| line.number);
        Following { missed, ended: pages.ended && last >= pages.written, lines }
    }

    /// Changes whenever something was written, and at the end.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.written.subscribe()
    }

    /// Everything as bytes that [`load`](Self::load) understands. None where nothing was written.
    pub(crate) fn save(&self) -> Option<Vec<u8>> {
        let pages = self.pages();
        if pages.written == 0 {
            return None;
        }
        serde_json::to_vec(&*pages).ok()
    }

    /// The book of a run that has ended. None for bytes that are none.
    pub(crate) fn load(bytes: &[u8]) -> Option<Self> {
        let mut pages: Pages = serde_json::from_slice(bytes).ok()?;
        pages.ended = true;
        let written = watch::Sender::new(pages.written);
        Some(Self { pages: Mutex::new(pages), written })
    }

    fn tell(&self, pages: MutexGuard<'_, Pages>) {
        let written = pages.written;
        drop(pages);
        self.written.send_replace(written);
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pages {
    fn write(&mut self, stream: OutputStream, line: &str) {
        self.written = self.written.saturating_add(1);
        let cost = line.len().saturating_add(LINE_COST);
        let line = Line { number: self.written, stream, line: line.into() };
        if self.tail.is_empty()
            && self.omitted.lines == 0
            && self.head_bytes.saturating_add(cost) <= HEAD_BYTES
        {
            self.head_bytes = self.head_bytes.saturating_add(cost);
            self.head.push(line);
            return;
        }
        self.tail_bytes = self.tail_bytes.saturating_add(cost);
        self.tail.push_back(line);
        while self.tail_bytes > TAIL_BYTES
            && let Some(left_out) = self.tail.pop_front()
        {
            self.tail_bytes = self.tail_bytes.saturating_sub(left_out.line.len().saturating_add(LINE_COST));
            self.omitted.lines = self.omitted.lines.saturating_add(1);
            let bytes = u64::try_from(left_out.line.len()).unwrap_or(u64::MAX);
            self.omitted.bytes = self.omitted.bytes.saturating_add(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(book: &Book, lines: &[&str]) {
        book.write(OutputStream::Stdout, |each| lines.iter().for_each(|line| each(line)));
    }

    #[test]
    fn a_short_book_is_kept_whole_and_read_from_anywhere() {
        let book = Book::default();
        write(&book, &["a", "", "c"]);
        assert_eq!(book.lines(), (vec!["a".to_owned(), String::new(), "c".to_owned()], None));
        let following = book.after(1, 10);
        assert_eq!((following.missed, following.lines.len(), following.ended), (0, 2, false));
        book.end();
        assert!(book.after(1, 10).ended && !book.after(1, 1).ended);
        assert_eq!(book.after(3, 10), Following { missed: 0, lines: Vec::new(), ended: true });
        // Of a reader who saw more before a restart.
        assert_eq!(book.after(9, 10), book.after(0, 10));
    }

    #[test]
    fn a_long_book_keeps_both_ends_and_says_what_is_missing() {
        let book = Book::default();
        let line = "x".repeat(1000);
        for _ in 0..2000 {
            write(&book, &[&line]);
        }
        write(&book, &["last"]);
        let (lines, omitted) = book.lines();
        let omitted = omitted.unwrap();
        assert_eq!(lines.len() as u64 - 1 + omitted.lines, 2001);
        assert_eq!(omitted.bytes, omitted.lines * 1000);
        assert_eq!(lines.last().unwrap(), "last");
        let head = lines.iter().take_while(|text| **text == line).count() as u64;
        assert!(lines.iter().map(String::len).sum::<usize>() <= HEAD_BYTES + TAIL_BYTES);
        let following = book.after(head, 1);
        assert_eq!(following.missed, omitted.lines);
        assert_eq!(following.lines[0].number, head + omitted.lines + 1);
        assert_eq!(book.after(head - 2, 10).lines.len(), 2, "an answer goes across the gap");
    }

    #[test]
    fn many_tiny_lines_are_bounded_too() {
        let book = Book::default();
        book.write(OutputStream::Stderr, |each| (0..100_000).for_each(|_| each("")));
        assert!(book.lines().0.len() <= (HEAD_BYTES + TAIL_BYTES) / LINE_COST + 1);
    }

    #[test]
    fn a_saved_book_reads_the_same() {
        let book = Book::default();
        assert_eq!(book.save(), None);
        write(&book, &["a", "b \u{fffd}"]);
        let loaded = Book::load(&book.save().unwrap()).unwrap();
        assert_eq!(loaded.lines(), book.lines());
        assert!(loaded.after(0, 10).ended);
        assert!(Book::load(b"{").is_none());
    }

    #[tokio::test]
    async fn a_reader_is_told_of_lines_and_of_the_end() {
        let book = Book::default();
        let mut watch = book.watch();
        write(&book, &["a"]);
        watch.changed().await.unwrap();
        book.end();
        watch.changed().await.unwrap();
        assert!(book.after(1, 1).ended);
    }
}
