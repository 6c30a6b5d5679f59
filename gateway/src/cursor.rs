//! Cursors of `/v1/query`: opaque to callers, and good only for the lens, `where` and `orderBy` that made them.
//!
//! A cursor is base64url of a nonce of 12 random bytes and the place under AES-256-GCM, which authenticates the question,
//! too. It is sealed and not only signed because a place holds values of columns that the lens may not show. Random
//! nonces are safe for some 2^32 cursors under one master key.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce};
use ring::digest;
use ring::rand::{SecureRandom, SystemRandom};

use crate::api::error::ApiError;
use crate::crypto::aes_key;
use crate::error::CryptoError;

/// Cursors beyond this were not made here.
const MAX_CURSOR: usize = 64 * 1024;
/// First byte of a place: which kind it is.
const BRIDGE: u8 = 1;
const KEYS: u8 = 2;

/// What seals cursors.
pub(crate) struct CursorKey {
    key: LessSafeKey,
    random: SystemRandom,
}

impl CursorKey {
    /// The key of these bytes.
    pub(crate) fn new(bytes: &[u8; 32]) -> Result<Self, CryptoError> {
        Ok(Self { key: aes_key(bytes)?, random: SystemRandom::new() })
    }
}

/// What a lens, a filter and an order have in common with themselves alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of these texts in this order.
    pub(crate) fn of(parts: &[&str]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        for part in parts {
            context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
            context.update(part.as_bytes());
        }
        let mut hash = [0; 32];
        for (to, from) in hash.iter_mut().zip(context.finish().as_ref()) {
            *to = *from;
        }
        Self(hash)
    }
}

/// Where a page ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// The bridge pages by key; this is its own cursor.
    Bridge(String),
    /// The gateway pages by key for a runner that cannot: the last row's keys as JSON texts, null for a missing one.
    Keys(Vec<Option<String>>),
}

impl Place {
    fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Bridge(cursor) => [&[BRIDGE], cursor.as_bytes()].concat(),
            Self::Keys(keys) => [vec![KEYS], serde_json::to_vec(keys).unwrap_or_default()].concat(),
        }
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first()? {
            (&BRIDGE, cursor) => Some(Self::Bridge(std::str::from_utf8(cursor).ok()?.to_owned())),
            (&KEYS, keys) => serde_json::from_slice(keys).ok().map(Self::Keys),
            _ => None,
        }
    }
}

/// The cursor's text.
pub(crate) fn seal(key: &CursorKey, question: &Fingerprint, place: &Place) -> Result<String, CryptoError> {
    let mut nonce = [0; NONCE_LEN];
    key.random.fill(&mut nonce).map_err(|_| CryptoError::NoRandomness)?;
    let mut sealed = place.to_bytes();
    key.key
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(question.0), &mut sealed)
        .map_err(|_| CryptoError::Derivation)?;
    Ok(URL_SAFE_NO_PAD.encode([nonce.as_slice(), &sealed].concat()))
}

/// Reads a cursor that [`seal`] made for the same question.
pub(crate) fn open(key: &CursorKey, question: &Fingerprint, cursor: &str) -> Result<Place, ApiError> {
    let expected = "a nextCursor of this gateway, unchanged, with the same lens, where and orderBy as in the call that gave it";
    opened(key, question, cursor).ok_or_else(|| ApiError::invalid("cursor", expected))
}

fn opened(key: &CursorKey, question: &Fingerprint, cursor: &str) -> Option<Place> {
    if cursor.len() > MAX_CURSOR {
        return None;
    }
    let mut bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let (nonce, sealed) = bytes.split_at_mut_checked(NONCE_LEN)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let place = key.key.open_in_place(nonce, Aad::from(question.0), sealed).ok()?;
    Place::from_bytes(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> CursorKey {
        CursorKey::new(&[byte; 32]).unwrap()
    }

    #[test]
    fn a_cursor_reads_back_for_the_same_question_alone() {
        let here = Fingerprint::of(&["products", "{}", "[]"]);
        for place in [
            Place::Bridge("42".to_owned()),
            Place::Bridge(String::new()),
            Place::Keys(vec![Some("\"a\"".to_owned()), None]),
        ] {
            let cursor = seal(&key(1), &here, &place).unwrap();
            assert_eq!(open(&key(1), &here, &cursor).unwrap(), place);
            let there = Fingerprint::of(&["products", "{}", "[1]"]);
            let refused = open(&key(1), &there, &cursor).unwrap_err();
            assert!(refused.message().contains("same lens, where and orderBy"));
            assert!(open(&key(2), &here, &cursor).is_err());
        }
    }

    #[test]
    fn a_cursor_shows_nothing_of_its_place_and_is_never_the_same_twice() {
        let here = Fingerprint::of(&["products"]);
        let place = Place::Keys(vec![Some("\"salary-of-somebody\"".to_owned())]);
        let cursor = seal(&key(1), &here, &place).unwrap();
        let bytes = URL_SAFE_NO_PAD.decode(&cursor).unwrap();
        assert!(!bytes.windows(6).any(|window| window == b"salary"));
        assert_ne!(cursor, seal(&key(1), &here, &place).unwrap());
        assert!(
            cursor.len() <= (12 + 16 + 1 + "[\"\\\"salary-of-somebody\\\"\"]".len()).div_ceil(3) * 4,
            "{cursor}"
        );
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(Fingerprint::of(&["ab", "c"]), Fingerprint::of(&["a", "bc"]));
    }

    #[test]
    fn a_changed_cursor_is_refused_whatever_was_changed() {
        let here = Fingerprint::of(&["a"]);
        let cursor = seal(&key(1), &here, &Place::Keys(vec![Some("1".to_owned()), None])).unwrap();
        for at in 0..cursor.len() {
            let mut changed = cursor.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            // The last character may hold bits that decode to nothing; then the text is not canonical and refused too.
            assert!(open(&key(1), &here, &changed).is_err(), "{at}");
            assert!(open(&key(1), &here, &cursor[..at]).is_err(), "cut at {at}");
        }
        for nonsense in ["", "AAAA", "!", "eyJpZCI6NTB9", &"A".repeat(100_000)] {
            assert!(open(&key(1), &here, nonsense).is_err());
        }
    }

    #[test]
    fn a_cursor_of_an_earlier_version_is_refused_like_any_other_text() {
        // A signature of 16 bytes and readable JSON, as they were once.
        let old = [[7; 16].as_slice(), br#"{"f":"AAAAAAAAAAAAAAAAAAAAAA","p":{"keys":["1"]}}"#].concat();
        let refused = open(&key(1), &Fingerprint::of(&["a"]), &URL_SAFE_NO_PAD.encode(old)).unwrap_err();
        assert_eq!((refused.code(), refused.body()["field"].as_str()), ("bad_request", Some("cursor")));
    }
}
