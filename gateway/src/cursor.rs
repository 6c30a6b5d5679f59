//! Cursors of `/v1/query`: opaque to callers, signed, and good only for the `where` and `orderBy` that made them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::{digest, hmac};
use serde::{Deserialize, Serialize};

use crate::api::error::ApiError;

/// Bytes of the signature in a cursor; 128 bits are beyond guessing.
const TAG: usize = 16;
/// Cursors beyond this were not made here.
const MAX_CURSOR: usize = 64 * 1024;

/// What a lens, a filter and an order have in common with themselves alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Fingerprint(String);

impl Fingerprint {
    /// The fingerprint of these texts in this order.
    pub(crate) fn of(parts: &[&str]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        for part in parts {
            context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
            context.update(part.as_bytes());
        }
        let digest = context.finish();
        Self(URL_SAFE_NO_PAD.encode(digest.as_ref().get(..TAG).unwrap_or_default()))
    }
}

/// Where a page ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Place {
    /// The bridge pages by key; this is its own cursor.
    Bridge(String),
    /// The gateway pages by key for a runner that cannot: the last row's keys as JSON texts, null for a missing one.
    Keys(Vec<Option<String>>),
}

#[derive(Serialize, Deserialize)]
struct Payload {
    f: Fingerprint,
    p: Place,
}

/// The cursor's text.
pub(crate) fn seal(key: &hmac::Key, fingerprint: &Fingerprint, place: Place) -> String {
    let payload = serde_json::to_vec(&Payload { f: fingerprint.clone(), p: place }).unwrap_or_default();
    let tag = hmac::sign(key, &payload);
    let mut bytes = tag.as_ref().get(..TAG).unwrap_or_default().to_vec();
    bytes.extend_from_slice(&payload);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads a cursor that [`seal`] made for the same question.
pub(crate) fn open(key: &hmac::Key, fingerprint: &Fingerprint, cursor: &str) -> Result<Place, ApiError> {
    let refused = || ApiError::invalid("cursor", "a nextCursor of this gateway, unchanged");
    if cursor.len() > MAX_CURSOR {
        return Err(refused());
    }
    let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| refused())?;
    let (tag, payload) = bytes.split_at_checked(TAG).ok_or_else(refused)?;
    let expected = hmac::sign(key, payload);
    // Both sides are hashed again, so that the time of the comparison tells nothing about where they differ.
    let twice = |tag: &[u8]| hmac::sign(key, tag);
    if twice(tag).as_ref() != twice(expected.as_ref().get(..TAG).unwrap_or_default()).as_ref() {
        return Err(refused());
    }
    let payload: Payload = serde_json::from_slice(payload).map_err(|_| refused())?;
    if payload.f != *fingerprint {
        return Err(ApiError::invalid(
            "cursor",
            "the same lens, where and orderBy as in the call that gave it",
        ));
    }
    Ok(payload.p)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &[u8]) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, text)
    }

    #[test]
    fn a_cursor_reads_back_for_the_same_question_alone() {
        let here = Fingerprint::of(&["products", "{}", "[]"]);
        let cursor = seal(&key(b"k"), &here, Place::Bridge("42".to_owned()));
        assert_eq!(open(&key(b"k"), &here, &cursor).unwrap(), Place::Bridge("42".to_owned()));
        let there = Fingerprint::of(&["products", "{}", "[1]"]);
        assert!(
            open(&key(b"k"), &there, &cursor).unwrap_err().message().contains("same lens, where and orderBy")
        );
        assert!(open(&key(b"other"), &here, &cursor).is_err());
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(Fingerprint::of(&["ab", "c"]), Fingerprint::of(&["a", "bc"]));
    }

    #[test]
    fn a_changed_cursor_is_refused_whatever_was_changed() {
        let here = Fingerprint::of(&["a"]);
        let cursor = seal(&key(b"k"), &here, Place::Keys(vec![Some("1".to_owned()), None]));
        for at in 0..cursor.len() {
            let mut changed = cursor.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            // The last character may hold bits that decode to nothing; then the text is not canonical and refused too.
            assert!(open(&key(b"k"), &here, &changed).is_err(), "{at}");
        }
        for nonsense in ["", "AAAA", "!", "eyJpZCI6NTB9", &"A".repeat(100_000)] {
            assert!(open(&key(b"k"), &here, nonsense).is_err());
        }
    }
}
