//! Who vouches for a plugin: ed25519 signatures over its file.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use protocol::Invalid;
use ring::signature::{ED25519, UnparsedPublicKey};

use crate::error::SignatureError;

const KEY_BYTES: usize = 32;
const SIGNATURE_BYTES: usize = 64;

/// The keys that an operator trusts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TrustedKeys(Vec<[u8; KEY_BYTES]>);

impl TrustedKeys {
    /// Reads keys: base64 of 32 bytes each.
    ///
    /// # Errors
    /// Names the first that is none, as `[index]`.
    pub fn parse(keys: &[String]) -> Result<Self, Invalid> {
        let key = |(index, text): (usize, &String)| {
            let bytes = STANDARD.decode(text.trim()).ok();
            let key = bytes.and_then(|bytes| <[u8; KEY_BYTES]>::try_from(bytes).ok());
            key.ok_or_else(|| Invalid::new(format!("[{index}]"), "base64 of the 32 bytes of an ed25519 key"))
        };
        keys.iter().enumerate().map(key).collect::<Result<_, _>>().map(Self)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Makes sure that one of the keys has signed the component. The signature is its 64 bytes, or base64 of them.
    ///
    /// # Errors
    /// A signature that is none, and one that no key has made for these bytes.
    pub fn verify(&self, component: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
        let signature = raw(signature)?;
        let signed = |key: &[u8; KEY_BYTES]| {
            UnparsedPublicKey::new(&ED25519, key).verify(component, &signature).is_ok()
        };
        if self.0.iter().any(signed) { Ok(()) } else { Err(SignatureError::Untrusted) }
    }
}

fn raw(signature: &[u8]) -> Result<[u8; SIGNATURE_BYTES], SignatureError> {
    if let Ok(raw) = <[u8; SIGNATURE_BYTES]>::try_from(signature) {
        return Ok(raw);
    }
    let decoded = STANDARD.decode(signature.trim_ascii()).map_err(|_| SignatureError::Malformed)?;
    decoded.try_into().map_err(|_| SignatureError::Malformed)
}

#[cfg(test)]
mod tests {
    use ring::signature::{Ed25519KeyPair, KeyPair};

    use super::*;

    fn pair(seed: u8) -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
    }

    fn trusting(seeds: &[u8]) -> TrustedKeys {
        let keys: Vec<String> = seeds.iter().map(|seed| STANDARD.encode(pair(*seed).public_key())).collect();
        TrustedKeys::parse(&keys).unwrap()
    }

    #[test]
    fn any_trusted_key_may_have_signed() {
        let signature = pair(2).sign(b"component");
        let keys = trusting(&[1, 2]);
        assert_eq!(keys.verify(b"component", signature.as_ref()), Ok(()));
        let text = format!("{}\n", STANDARD.encode(signature.as_ref()));
        assert_eq!(keys.verify(b"component", text.as_bytes()), Ok(()));
    }

    #[test]
    fn another_key_another_file_and_no_key_are_refused() {
        let signature = pair(3).sign(b"component");
        assert_eq!(
            trusting(&[1, 2]).verify(b"component", signature.as_ref()),
            Err(SignatureError::Untrusted)
        );
        assert_eq!(trusting(&[3]).verify(b"Component", signature.as_ref()), Err(SignatureError::Untrusted));
        assert_eq!(trusting(&[]).verify(b"component", signature.as_ref()), Err(SignatureError::Untrusted));
    }

    #[test]
    fn a_signature_of_another_form_is_named_as_that() {
        for text in [&b""[..], b"AAAA", b"not base64 at all!", &[7; 63], &[7; 65]] {
            assert_eq!(trusting(&[1]).verify(b"component", text), Err(SignatureError::Malformed));
        }
    }

    #[test]
    fn a_key_of_another_form_is_named_by_its_place() {
        let good = STANDARD.encode([1; 32]);
        let refusal = TrustedKeys::parse(&[good, STANDARD.encode([1; 31])]).unwrap_err();
        assert_eq!(refusal.to_string(), "[1]: expected base64 of the 32 bytes of an ed25519 key");
    }
}
