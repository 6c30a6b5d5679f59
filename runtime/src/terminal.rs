//! What commands say: answers on standard output, complaints on standard error.
//!
//! A reader that has gone (`… | head -1`) has had enough of an answer. That is nothing to complain of; the exit code is the one
//! that a shell shows of programs which the broken pipe itself has ended.

use std::fmt::Display;
use std::io::{self, Write};

use crate::Exit;

/// Writes an answer and a line break, at once, and says how the command ends after that.
pub fn print(out: &mut dyn Write, answer: &str) -> Exit {
    match out.write_all(format!("{answer}\n").as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Exit::Clean,
        Err(error) => unwritten(&error),
    }
}

/// How a command ends that could not write its answer; complains, unless it is only that nobody reads any longer.
pub fn unwritten(error: &io::Error) -> Exit {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Exit::ReaderGone;
    }
    complain(&format_args!("cannot write: {error}"));
    Exit::Failed
}

/// Lines on standard error. They may quote other people, so that they are made [printable].
pub fn complain(problem: &dyn Display) {
    let lines: Vec<String> = problem.to_string().lines().map(printable).collect();
    // Nobody is left to tell when stderr is closed.
    drop(writeln!(io::stderr(), "{}", lines.join("\n")));
}

/// Text of other people for a terminal: nothing of theirs moves the cursor, breaks the line or turns the reading direction.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || is_format(c) { '?' } else { c }).collect()
}

/// Separators of lines and paragraphs, and what orders text of both directions (Unicode, UAX 9).
const fn is_format(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Broken(io::ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn text_of_others_stays_in_its_place() {
        assert_eq!(printable("a\u{1b}[2Jb\nc\u{202e}d\u{2067}e\u{2028}f é"), "a?[2Jb?c?d?e?f é");
    }

    #[test]
    fn a_reader_that_has_gone_is_told_from_a_full_disk() {
        let mut written = Vec::new();
        assert_eq!(print(&mut written, "answer"), Exit::Clean);
        assert_eq!(written, b"answer\n");
        assert_eq!(print(&mut Broken(io::ErrorKind::BrokenPipe), "answer"), Exit::ReaderGone);
        assert_eq!(print(&mut Broken(io::ErrorKind::StorageFull), "answer"), Exit::Failed);
    }
}
