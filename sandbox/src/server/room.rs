//! How many bytes of requests there are before their runs begin: those that arrive, and those that wait in line.
//!
//! The queue counts heads, and a request may have megabytes of files; together they would be more than the machine has.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Room for requests. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    held: Arc<AtomicUsize>,
    all: usize,
}

/// What one request takes of it, given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    room: Room,
    bytes: usize,
}

impl Room {
    /// Room for `all` bytes.
    pub(crate) fn new(all: usize) -> Self {
        Self { held: Arc::default(), all }
    }

    /// Nothing yet, which can grow.
    pub(crate) fn nothing(&self) -> Held {
        Held { room: self.clone(), bytes: 0 }
    }

    /// Bytes that are taken.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}

impl Held {
    /// Takes more; false, and nothing is taken, where there is no room.
    pub(crate) fn grow(&mut self, bytes: usize) -> bool {
        let all = self.room.all;
        let fits = |held: usize| held.checked_add(bytes).filter(|sum| *sum <= all);
        let grown = self.room.held.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits).is_ok();
        if grown {
            self.bytes = self.bytes.saturating_add(bytes);
        }
        grown
    }

    /// Takes more of what is there already, also where there is no room: the next one finds less.
    pub(crate) fn grow_anyway(&mut self, bytes: usize) {
        self.room.held.fetch_add(bytes, Ordering::AcqRel);
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.room.held.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_up_to_the_last_byte_and_it_comes_back() {
        let room = Room::new(10);
        let (mut first, mut second) = (room.nothing(), room.nothing());
        assert!(first.grow(4) && first.grow(2) && second.grow(4));
        assert!(!second.grow(1) && !second.grow(usize::MAX));
        assert_eq!(room.held(), 10);
        drop(first);
        assert!(second.grow(6) && !second.grow(1));
        second.grow_anyway(5);
        assert_eq!(room.held(), 15);
        drop(second);
        assert_eq!(room.held(), 0);
    }
}
