//! Many keys in little memory, and those that were seen lately.

use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};

/// Taken keys are not kept beyond so many, or half of all.
const KEPT: usize = 1_024;

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
        self.bytes.extend_from_slice(key);
        self.ends.push(self.bytes.len());
    }

    /// How many bytes are kept.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len()
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
        let from = self.begin(index);
        let to = self.ends.get(index).copied().unwrap_or(from);
        self.bytes.get(from..to).unwrap_or_default()
    }

    /// Where the key at `index` of all begins.
    fn begin(&self, index: usize) -> usize {
        index.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map(|index| self.get(index))
    }

    /// Takes the first `count`.
    pub(crate) fn take(&mut self, count: usize) -> Self {
        let (first, end) = (self.taken, self.taken + count.min(self.len()));
        let (from, to) = (self.begin(first), self.begin(end));
        let ends = self.ends.get(first..end).unwrap_or_default().iter().map(|end| end - from).collect();
        let bytes = self.bytes.get(from..to).unwrap_or_default().to_vec();
        self.taken = end;
        self.forget_taken();
        Self { bytes, ends, taken: 0 }
    }

    /// Gives back what taken keys take, when that is worth moving the others.
    fn forget_taken(&mut self) {
        let all = self.ends.len();
        if self.taken == all {
            (self.taken, self.bytes, self.ends) = (0, cleared(&mut self.bytes), cleared(&mut self.ends));
        } else if self.taken > KEPT && self.taken > all / 2 {
            let from = self.begin(self.taken);
            self.bytes.drain(..from);
            self.ends.drain(..self.taken);
            self.ends.iter_mut().for_each(|end| *end -= from);
            self.taken = 0;
        }
    }
}

impl<'a> FromIterator<&'a [u8]> for Keys {
    fn from_iter<I: IntoIterator<Item = &'a [u8]>>(keys: I) -> Self {
        let mut all = Self::default();
        keys.into_iter().for_each(|key| all.push(key));
        all
    }
}

/// The same memory without what is in it.
fn cleared<T>(all: &mut Vec<T>) -> Vec<T> {
    let mut all = std::mem::take(all);
    all.clear();
    all
}

/// Tells keys that a scan gives again.
///
/// Redis visits the buckets of its table in an order in which those that become one when the table shrinks are next to
/// each other, so a key comes again only soon after it came: what lies further back than some ten thousand keys need
/// not be remembered: as many as the table has become times smaller. Keys are known by 64 bits of a keyed hash.
#[derive(Debug)]
pub(crate) struct Seen {
    hasher: RandomState,
    now: Hashes,
    before: Hashes,
    generation: usize,
}

type Hashes = HashSet<u64, BuildHasherDefault<AsItIs>>;

/// Hashes need not be hashed again.
#[derive(Debug, Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, byte| hash.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

impl Seen {
    /// How many keys are remembered at least.
    const GENERATION: usize = 50_000;

    pub(crate) fn new() -> Self {
        Self::remembering(Self::GENERATION)
    }

    fn remembering(generation: usize) -> Self {
        Self { hasher: RandomState::new(), now: Hashes::default(), before: Hashes::default(), generation }
    }

    /// Whether the key comes for the first time.
    pub(crate) fn is_new(&mut self, key: &[u8]) -> bool {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(key);
        let hash = hasher.finish();
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
    fn taken_keys_take_no_memory_although_some_are_always_left() {
        let mut keys = Keys::default();
        for round in 0..1_000_u32 {
            (0..100).for_each(|number| keys.push(format!("{round}:{number}").as_bytes()));
            let some = keys.take(100 - usize::from(round == 0));
            assert_eq!(some.len(), 100 - usize::from(round == 0));
            assert_eq!(keys.get(0), format!("{round}:99").as_bytes());
        }
        assert!(keys.size() < 100_000, "{}", keys.size());
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
