//! Many keys in little memory, and those that were seen lately.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

/// Keys one after the other, taken from the front.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// How many have been taken.
    taken: usize,
}

impl Keys {
    pub(crate) fn push(&mut self, key: &[u8]) {
        if self.taken > 0 && self.taken == self.ends.len() {
            *self = Self {
                bytes: std::mem::take(&mut self.bytes),
                ends: std::mem::take(&mut self.ends),
                taken: 0,
            };
            self.bytes.clear();
            self.ends.clear();
        }
        self.bytes.extend_from_slice(key);
        self.ends.push(self.bytes.len());
    }

    /// How many are left.
    pub(crate) fn len(&self) -> usize {
        self.ends.len() - self.taken
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The one at `index` of those that are left.
    pub(crate) fn get(&self, index: usize) -> &[u8] {
        let index = self.taken + index;
        let from = index.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        let to = self.ends.get(index).copied().unwrap_or(from);
        self.bytes.get(from..to).unwrap_or_default()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map(|index| self.get(index))
    }

    /// Takes the first `count`.
    pub(crate) fn take(&mut self, count: usize) -> Self {
        let count = count.min(self.len());
        let mut taken = Self::default();
        self.iter().take(count).for_each(|key| taken.push(key));
        self.taken += count;
        taken
    }
}

impl<'a> FromIterator<&'a [u8]> for Keys {
    fn from_iter<I: IntoIterator<Item = &'a [u8]>>(keys: I) -> Self {
        let mut all = Self::default();
        keys.into_iter().for_each(|key| all.push(key));
        all
    }
}

/// Tells keys that a scan gives again.
///
/// Redis visits the buckets of its table in an order in which those that become one when the table shrinks are next to
/// each other, so a key comes again only soon after it came: what lies further back than some hundred thousand keys need
/// not be remembered. Keys are known by 64 bits of a keyed hash.
#[derive(Debug)]
pub(crate) struct Seen {
    hasher: RandomState,
    now: HashSet<u64>,
    before: HashSet<u64>,
    generation: usize,
}

impl Seen {
    /// How many keys are remembered at least.
    const GENERATION: usize = 200_000;

    pub(crate) fn new() -> Self {
        Self::remembering(Self::GENERATION)
    }

    fn remembering(generation: usize) -> Self {
        Self { hasher: RandomState::new(), now: HashSet::new(), before: HashSet::new(), generation }
    }

    /// Whether the key comes for the first time.
    pub(crate) fn is_new(&mut self, key: &[u8]) -> bool {
        let hash = self.hasher.hash_one(key);
        if self.before.contains(&hash) || !self.now.insert(hash) {
            return false;
        }
        if self.now.len() >= self.generation {
            std::mem::swap(&mut self.now, &mut self.before);
            self.now.clear();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_taken_from_the_front() {
        let mut keys: Keys = [&b"a"[..], b"", b"ccc", b"d"].into_iter().collect();
        let first = keys.take(2);
        assert_eq!(first.iter().collect::<Vec<_>>(), [&b"a"[..], b""]);
        assert_eq!(
            (keys.len(), keys.get(0), keys.get(1), keys.get(2)),
            (2, &b"ccc"[..], &b"d"[..], &b""[..])
        );
        assert_eq!(keys.take(9).len(), 2);
        keys.push(b"e");
        assert_eq!(keys.iter().collect::<Vec<_>>(), [b"e"]);
    }

    #[test]
    fn a_key_that_comes_again_soon_is_known() {
        let mut seen = Seen::remembering(10);
        let mut fresh = 0;
        for number in 0..1_000_u32 {
            fresh += u32::from(seen.is_new(&number.to_le_bytes()));
            assert!(!seen.is_new(&number.to_le_bytes()));
            assert!(number < 10 || !seen.is_new(&(number - 9).to_le_bytes()));
        }
        assert_eq!(fresh, 1_000);
        assert!(seen.before.len() + seen.now.len() <= 20);
    }
}
