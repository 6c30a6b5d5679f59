//! The bytes between the socket and the parser.
//!
//! A plain window over one allocation: it starts small, because most statements answer with little, becomes large as
//! soon as a read fills it, and exceeds that only to hold one long message. What is read is never copied but for the
//! unfinished message at its end.

/// Holds the answer to a point query.
const SMALL: usize = 8 * 1024;
/// Few enough reads for a stream of rows; more did not measure better.
pub const LARGE: usize = 64 * 1024;

/// Bytes received and not yet consumed.
#[derive(Debug)]
pub struct Inbox {
    /// All of it is initialised, so that reading needs no zeroing.
    storage: Vec<u8>,
    start: usize,
    end: usize,
    /// Whether the last read used all the room it had.
    filled_up: bool,
}

impl Default for Inbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Inbox {
    pub fn new() -> Self {
        Self { storage: vec![0; SMALL], start: 0, end: 0, filled_up: false }
    }

    /// What was received, oldest first.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        self.storage.get(self.start..self.end).unwrap_or_default()
    }

    /// Forgets the first `count` bytes, or all if there are fewer. Returns how many it forgot.
    #[inline]
    pub fn consume(&mut self, count: usize) -> usize {
        let count = count.min(self.end - self.start);
        self.start += count;
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
        count
    }

    /// Room for the next read, never empty. The caller consumes what it can first: only an unfinished message grows us.
    pub fn room(&mut self) -> &mut [u8] {
        if self.filled_up && self.storage.len() < LARGE {
            self.resize(LARGE);
        } else if self.storage.len() - self.end < SMALL / 2 {
            self.move_to_front();
            if self.storage.len() - self.end < SMALL / 2 {
                self.resize(self.storage.len().saturating_mul(2).max(LARGE));
            }
        }
        self.storage.get_mut(self.end..).unwrap_or_default()
    }

    /// Notes that a read put `count` bytes into [`room`](Self::room).
    pub fn received(&mut self, count: usize) {
        self.end = self.end.saturating_add(count).min(self.storage.len());
        self.filled_up = self.end == self.storage.len();
    }

    /// Gives memory back while nothing is going on.
    pub fn shrink(&mut self) {
        if self.start == self.end && self.storage.len() > SMALL {
            *self = Self::new();
        }
    }

    /// How many bytes of memory it takes.
    pub fn capacity(&self) -> usize {
        self.storage.len()
    }

    fn resize(&mut self, capacity: usize) {
        self.move_to_front();
        self.storage.resize(capacity, 0);
    }

    fn move_to_front(&mut self) {
        if self.start > 0 {
            self.storage.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receive(inbox: &mut Inbox, bytes: &[u8]) {
        inbox.room()[..bytes.len()].copy_from_slice(bytes);
        inbox.received(bytes.len());
    }

    #[test]
    fn consuming_leaves_the_rest_in_order() {
        let mut inbox = Inbox::new();
        receive(&mut inbox, b"abc");
        receive(&mut inbox, b"def");
        assert_eq!(inbox.consume(2), 2);
        assert_eq!(inbox.bytes(), b"cdef");
        assert_eq!(inbox.consume(100), 4);
        assert_eq!(inbox.bytes(), b"");
    }

    #[test]
    fn a_small_answer_stays_in_a_small_buffer() {
        let mut inbox = Inbox::new();
        for _ in 0..10_000 {
            receive(&mut inbox, &[7; 300]);
            inbox.consume(300);
        }
        assert_eq!(inbox.capacity(), SMALL);
    }

    #[test]
    fn a_stream_gets_the_large_buffer_and_no_more() {
        let mut inbox = Inbox::new();
        for round in 0..1_000 {
            let size = inbox.room().len();
            inbox.room().fill(1);
            inbox.received(size);
            inbox.consume(inbox.bytes().len() - round % 90);
        }
        assert_eq!(inbox.capacity(), LARGE);
    }

    #[test]
    fn an_unfinished_message_is_kept_whole_while_the_buffer_grows() {
        let mut inbox = Inbox::new();
        let mut sent = Vec::new();
        for number in 0..200_000_u32 {
            let bytes = number.to_be_bytes();
            receive(&mut inbox, &bytes);
            sent.extend_from_slice(&bytes);
        }
        assert_eq!(inbox.bytes(), sent);
        assert!(inbox.capacity() <= 2 * sent.len());
        inbox.consume(sent.len());
        inbox.shrink();
        assert_eq!(inbox.capacity(), SMALL);
    }
}
