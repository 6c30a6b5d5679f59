//! Texts or byte strings of a column, in one piece.
//!
//! Most texts are short. A copy of a length that is only known when it happens is a call out of the plugin into the runner,
//! which takes longer than the bytes do; here short ones are copied as a few words instead. The buffer is as long as it has
//! room, so that a text needs one look at whether it fits.

use crate::bindings::semilayer::bridge::types as wit;

/// The least room that is made.
const LEAST_ROOM: usize = 64;

/// Texts or bytes in one piece.
#[derive(Debug)]
pub(super) struct Pieces {
    /// Where each begins, and where the last ends.
    offsets: Vec<u32>,
    /// What has been pushed, and zeros behind it.
    bytes: Vec<u8>,
    used: usize,
    /// The room that is made with the first text, about what the batch before took: a cursor that is not asked for more takes
    /// none.
    expected: usize,
}

impl Pieces {
    pub(super) fn new(pieces: usize, bytes: usize) -> Self {
        let mut offsets = Vec::with_capacity(pieces + 1);
        offsets.push(0);
        Self { offsets, bytes: Vec::new(), used: 0, expected: bytes }
    }

    /// False when four gigabytes are not enough.
    #[inline(always)]
    pub(super) fn push(&mut self, piece: &[u8]) -> bool {
        let end = self.used.saturating_add(piece.len());
        let Ok(offset) = u32::try_from(end) else { return false };
        match self.bytes.get_mut(self.used..end) {
            Some(place) => copy(place, piece),
            None => self.push_with_room(piece, end),
        }
        self.used = end;
        self.offsets.push(offset);
        true
    }

    /// What has been pushed; the next batch will be about as large as this one.
    pub(super) fn take(&mut self) -> wit::Packed {
        let room = self.used.saturating_add(self.used / 16);
        let mut full = std::mem::replace(self, Self::new(self.offsets.len(), room));
        full.bytes.truncate(full.used);
        wit::Packed { offsets: full.offsets, bytes: full.bytes }
    }

    #[cold]
    fn push_with_room(&mut self, piece: &[u8], end: usize) {
        let room = self.bytes.len().saturating_mul(2).max(self.expected).max(LEAST_ROOM);
        self.bytes.resize(room.max(end), 0);
        if let Some(place) = self.bytes.get_mut(self.used..end) {
            copy(place, piece);
        }
    }
}

/// Copies as [`copy_from_slice`](slice::copy_from_slice) does, short pieces by their first and their last words, which
/// overlap.
#[inline(always)]
fn copy(place: &mut [u8], piece: &[u8]) {
    match piece.len() {
        0..4 => bytes(place, piece),
        4..8 => ends::<4>(place, piece, |word| u32::from_le_bytes(word).to_le_bytes()),
        8..16 => ends::<8>(place, piece, |word| u64::from_le_bytes(word).to_le_bytes()),
        16..=32 => ends::<16>(place, piece, |word| u128::from_le_bytes(word).to_le_bytes()),
        33..=64 => halves(place, piece),
        _ => place.copy_from_slice(piece),
    }
}

/// At most three bytes: the first, the one in the middle, the last.
#[inline]
fn bytes(place: &mut [u8], piece: &[u8]) {
    let middle = piece.len() / 2;
    if let (Some(to), Some(from)) = (place.first_mut(), piece.first()) {
        *to = *from;
    }
    if let (Some(to), Some(from)) = (place.get_mut(middle), piece.get(middle)) {
        *to = *from;
    }
    if let (Some(to), Some(from)) = (place.last_mut(), piece.last()) {
        *to = *from;
    }
}

/// The first and the last bytes, so many. `as_number` is the same bytes, by way of a number: a copy of an array would be
/// made a call again.
#[inline]
fn ends<const BYTES: usize>(place: &mut [u8], piece: &[u8], as_number: impl Fn([u8; BYTES]) -> [u8; BYTES]) {
    if let (Some(to), Some(from)) = (place.first_chunk_mut(), piece.first_chunk()) {
        *to = as_number(*from);
    }
    if let (Some(to), Some(from)) = (place.last_chunk_mut(), piece.last_chunk()) {
        *to = as_number(*from);
    }
}

/// The first and the last 32 bytes.
#[inline]
fn halves(place: &mut [u8], piece: &[u8]) {
    let words = |word| u128::from_le_bytes(word).to_le_bytes();
    if let (Some(to), Some(from)) = (place.first_chunk_mut::<32>(), piece.first_chunk::<32>()) {
        ends::<16>(to, from, words);
    }
    if let (Some(to), Some(from)) = (place.last_chunk_mut::<32>(), piece.last_chunk::<32>()) {
        ends::<16>(to, from, words);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_of_any_length_is_copied_whole_and_nothing_beside_it() {
        let text: Vec<u8> = (1..=200).collect();
        for length in 0..=text.len() {
            let mut place = vec![0; length + 2];
            copy(&mut place[1..=length], &text[..length]);
            assert_eq!(&place[1..=length], &text[..length], "{length}");
            assert_eq!((place[0], place[length + 1]), (0, 0), "{length}");
        }
    }

    #[test]
    fn pieces_of_all_lengths_lie_side_by_side_batch_after_batch() {
        let mut pieces = Pieces::new(0, 0);
        for _ in 0..3 {
            let mut expected = Vec::new();
            let mut ends = vec![0];
            for length in (0..100).chain([5_000, 1, 0]) {
                let piece: Vec<u8> = (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect();
                assert!(pieces.push(&piece));
                expected.extend_from_slice(&piece);
                ends.push(u32::try_from(expected.len()).unwrap());
            }
            let packed = pieces.take();
            assert_eq!((packed.bytes, packed.offsets), (expected, ends));
        }
    }
}
