//! Keys in their order, although Redis has none.
//!
//! A page of a full scan needs the next keys in an order that stays the same from page to page, while SCAN gives all keys
//! in an order of its own. So one scan is made for many pages: it keeps the smallest keys after the page before, as many
//! as fit into a fixed amount of memory, and the pages that follow are cut out of those. Keys that are there as long as
//! the pages are being read are in exactly one of them; what comes or goes meanwhile may or may not be.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bridge_core::BridgeError;
use tokio::time::Instant;

use super::{Keys, Run};
use crate::connect::Lease;
use crate::values::Key;

/// What the keys of one window may take.
const MEMORY: usize = 12 * 1024 * 1024;
/// What a key takes beside its bytes: its place in the set, and the allocation.
const ENTRY: usize = 64;
/// How many windows a source keeps.
const KEPT: usize = 2;
/// How long nobody may ask for the page after, before a window is not kept any more.
const UNUSED_LIMIT: Duration = Duration::from_secs(30);

/// Some of a target's keys, in order and without a gap.
#[derive(Debug, Clone)]
pub(crate) struct KeyWindow {
    keys: Arc<Vec<Box<[u8]>>>,
    /// The first that is wanted.
    from: usize,
    /// Whether no key comes after the last.
    pub(crate) complete: bool,
}

impl KeyWindow {
    /// These and no others.
    pub(crate) fn of(mut keys: Vec<Vec<u8>>, after: Option<&[u8]>) -> Self {
        keys.retain(|key| after.is_none_or(|after| key.as_slice() > after));
        keys.sort();
        Self {
            keys: Arc::new(keys.into_iter().map(Vec::into_boxed_slice).collect()),
            from: 0,
            complete: true,
        }
    }

    /// Takes the next `count`; none when all have been taken.
    pub(crate) fn take(&mut self, count: usize) -> Keys {
        let taken: Keys = self.keys.iter().skip(self.from).take(count).map(AsRef::as_ref).collect();
        self.from += taken.len();
        taken
    }

    pub(crate) fn last(&self) -> Option<&[u8]> {
        self.keys.last().map(AsRef::as_ref)
    }
}

/// The windows of a source.
#[derive(Debug, Clone, Default)]
pub(crate) struct Windows(Arc<Mutex<Vec<Kept>>>);

#[derive(Debug)]
struct Kept {
    target: String,
    pattern: Vec<u8>,
    /// What the keys come after.
    after: Option<Vec<u8>>,
    window: KeyWindow,
    used: Instant,
}

impl Windows {
    /// The next keys of a target, from a scan that was made for an earlier page or from one that is made now. The first
    /// page is always of now.
    pub(crate) async fn next(
        &self,
        lease: Lease,
        target: &str,
        pattern: &[u8],
        after: Option<&[u8]>,
    ) -> Result<(KeyWindow, Lease), BridgeError> {
        match after.and_then(|after| self.kept(target, pattern, after)) {
            Some(window) => Ok((window, lease)),
            None => self.fill(lease, target, pattern, after).await,
        }
    }

    /// The next keys of a target as they are now.
    pub(crate) async fn fill(
        &self,
        lease: Lease,
        target: &str,
        pattern: &[u8],
        after: Option<&[u8]>,
    ) -> Result<(KeyWindow, Lease), BridgeError> {
        let mut smallest = Smallest::new(MEMORY);
        let mut run = Run::over_keys(lease, pattern.to_vec());
        run.each(&mut |record| {
            if let Key::Bytes(key) = record.key
                && after.is_none_or(|after| key > after)
            {
                smallest.take(key);
            }
            Ok(())
        })
        .await?;
        let complete = !smallest.left_out;
        let window = KeyWindow { keys: Arc::new(smallest.keys.into_iter().collect()), from: 0, complete };
        self.keep(target, pattern, after, window.clone());
        Ok((window, run.into_lease()))
    }

    fn kept(&self, target: &str, pattern: &[u8], after: &[u8]) -> Option<KeyWindow> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|kept| kept.used.elapsed() < UNUSED_LIMIT);
        let fits = |kept: &&mut Kept| {
            kept.target == target
                && kept.pattern == pattern
                && kept.after.as_deref().is_none_or(|from| from <= after)
                && (kept.window.complete || kept.window.last().is_some_and(|last| last > after))
        };
        let kept = all.iter_mut().find(fits)?;
        kept.used = Instant::now();
        let from = kept.window.keys.partition_point(|key| key.as_ref() <= after);
        Some(KeyWindow { from, ..kept.window.clone() })
    }

    fn keep(&self, target: &str, pattern: &[u8], after: Option<&[u8]>, window: KeyWindow) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|kept| kept.target != target && kept.used.elapsed() < UNUSED_LIMIT);
        if all.len() >= KEPT {
            let oldest = all.iter().enumerate().min_by_key(|(_, kept)| kept.used).map(|(index, _)| index);
            oldest.map(|index| all.remove(index));
        }
        all.push(Kept {
            target: target.to_owned(),
            pattern: pattern.to_vec(),
            after: after.map(<[u8]>::to_vec),
            window,
            used: Instant::now(),
        });
    }
}

/// The smallest keys of those that come by, each once, in bounded memory.
struct Smallest {
    keys: BTreeSet<Box<[u8]>>,
    memory: usize,
    used: usize,
    left_out: bool,
}

impl Smallest {
    fn new(memory: usize) -> Self {
        Self { keys: BTreeSet::new(), memory, used: 0, left_out: false }
    }

    fn take(&mut self, key: &[u8]) {
        if self.left_out && self.keys.last().is_some_and(|last| key > last.as_ref()) {
            return;
        }
        if self.keys.contains(key) {
            return;
        }
        self.used += ENTRY + key.len();
        self.keys.insert(key.into());
        // One key is always kept, or there would be no next page.
        while self.used > self.memory && self.keys.len() > 1 {
            let last = self.keys.pop_last();
            self.used -= last.map_or(0, |last| ENTRY + last.len());
            self.left_out = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_keys_are_kept_whatever_order_they_come_in() {
        let mut smallest = Smallest::new(10 * (ENTRY + 4));
        for number in 0..1_000_u32 {
            let key = (number.wrapping_mul(7_919) % 1_000).to_be_bytes();
            smallest.take(&key);
            smallest.take(&key);
        }
        let kept: Vec<u32> =
            smallest.keys.iter().map(|key| u32::from_be_bytes(key.as_ref().try_into().unwrap())).collect();
        assert_eq!(kept, (0..10).collect::<Vec<_>>());
        assert!(smallest.left_out);
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_is_cut_out_of_the_window_before_it() {
        let windows = Windows::default();
        let key = |number: u8| vec![number].into_boxed_slice();
        let window = KeyWindow { keys: Arc::new((1..=5).map(key).collect()), from: 0, complete: false };
        windows.keep("t", b"t:*", None, window);
        let after = |number: u8| {
            let window = windows.kept("t", b"t:*", &[number]);
            window.map(|mut window| window.take(9).iter().map(<[u8]>::to_vec).collect::<Vec<_>>())
        };
        assert_eq!(after(3), Some(vec![vec![4], vec![5]]));
        assert_eq!(after(5), None);
        assert!(windows.kept("u", b"u:*", &[3]).is_none());
        tokio::time::advance(UNUSED_LIMIT).await;
        assert_eq!(after(3), None);
    }
}
