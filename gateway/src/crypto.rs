//! Encryption of managed source configs at rest, and the keys derived from the master key.
//!
//! One master key of 32 bytes makes everything by HKDF-SHA-256: the AES-256-GCM keys of the configs and of the cursors, and the key's public id, by which a sealed config says which master key it needs. The source's id is
//! authenticated with each config, so that one source's ciphertext cannot be put into another's row.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use protocol::{Secret, SourceConfig};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf;
use ring::rand::{SecureRandom, SystemRandom};

use crate::cursor::CursorKey;
use crate::error::CryptoError;
use crate::model::SourceId;

/// First byte of every sealed config; another layout would get another number.
const LAYOUT: u8 = 1;
const KEY_ID_LENGTH: usize = 8;
const HEADER_LENGTH: usize = 1 + KEY_ID_LENGTH + NONCE_LEN;

/// The 32 bytes that everything is derived from.
#[derive(Clone)]
pub struct MasterKey([u8; 32]);

impl MasterKey {
    /// A new random key.
    pub fn generate() -> Result<Self, CryptoError> {
        let mut bytes = [0; 32];
        SystemRandom::new().fill(&mut bytes).map_err(|_| CryptoError::NoRandomness)?;
        Ok(Self(bytes))
    }

    /// Reads the base64 form of 32 bytes, with or without padding.
    pub fn parse(text: &Secret) -> Result<Self, CryptoError> {
        let text = text.expose().trim().trim_end_matches('=');
        let bytes = STANDARD_FORGIVING.decode(text).map_err(|_| CryptoError::MasterKeyForm)?;
        bytes.as_slice().try_into().map(Self).map_err(|_| CryptoError::MasterKeyForm)
    }

    /// The base64 form, for the key file.
    pub fn encode(&self) -> Secret {
        Secret::new(STANDARD.encode(self.0))
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(..)")
    }
}

/// A managed config as the store keeps it: layout, key id, nonce, ciphertext and tag.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(Vec<u8>);

impl Sealed {
    /// What the store kept.
    pub const fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// What the store keeps.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}

/// Seals and opens managed configs.
pub struct Vault {
    configs: LessSafeKey,
    cursors: CursorKey,
    key_id: [u8; KEY_ID_LENGTH],
}

impl Vault {
    /// The vault that `master` opens.
    pub fn new(master: &MasterKey) -> Result<Self, CryptoError> {
        let configs = aes_key(&derive(master, b"semilayer gateway configs v1")?)?;
        let mut key_id = [0; KEY_ID_LENGTH];
        for (to, from) in key_id.iter_mut().zip(derive(master, b"semilayer gateway key id v1")?) {
            *to = from;
        }
        let cursors = CursorKey::new(&derive(master, b"semilayer gateway cursors v2")?)?;
        Ok(Self { configs, cursors, key_id })
    }

    /// Tells one master key from another without giving it away.
    pub const fn key_id(&self) -> &[u8; KEY_ID_LENGTH] {
        &self.key_id
    }

    /// What seals cursors.
    pub(crate) const fn cursor_key(&self) -> &CursorKey {
        &self.cursors
    }

    /// Encrypts the config of `source` under a nonce of its own.
    pub fn seal(&self, source: SourceId, config: &SourceConfig) -> Result<Sealed, CryptoError> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| CryptoError::NoRandomness)?;
        let mut text = serde_json::to_vec(config).map_err(|_| CryptoError::Damaged { source_id: source })?;
        self.configs
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(associated(&self.key_id, source)),
                &mut text,
            )
            .map_err(|_| CryptoError::Derivation)?;
        let mut sealed = Vec::with_capacity(HEADER_LENGTH + text.len());
        sealed.push(LAYOUT);
        sealed.extend_from_slice(&self.key_id);
        sealed.extend_from_slice(&nonce);
        sealed.append(&mut text);
        Ok(Sealed(sealed))
    }

    /// Decrypts the config of `source`. Says whether another master key is needed or the bytes are damaged.
    pub fn open(&self, source: SourceId, sealed: &Sealed) -> Result<SourceConfig, CryptoError> {
        let damaged = || CryptoError::Damaged { source_id: source };
        let (layout, rest) = sealed.0.split_first().ok_or_else(damaged)?;
        let (key_id, rest) = rest.split_at_checked(KEY_ID_LENGTH).ok_or_else(damaged)?;
        let (nonce, ciphertext) = rest.split_at_checked(NONCE_LEN).ok_or_else(damaged)?;
        if *layout != LAYOUT {
            return Err(damaged());
        }
        if key_id != self.key_id {
            return Err(CryptoError::OtherMasterKey { source_id: source });
        }
        let mut text = ciphertext.to_vec();
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| damaged())?;
        let plain = self
            .configs
            .open_in_place(nonce, Aad::from(associated(&self.key_id, source)), &mut text)
            .map_err(|_| damaged())?;
        serde_json::from_slice(plain).map_err(|_| damaged())
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault(..)")
    }
}

const STANDARD_FORGIVING: base64::engine::GeneralPurpose =
    base64::engine::GeneralPurpose::new(&base64::alphabet::STANDARD, base64::engine::general_purpose::NO_PAD);

/// A key of AES-256-GCM from its 32 bytes.
pub(crate) fn aes_key(bytes: &[u8; 32]) -> Result<LessSafeKey, CryptoError> {
    UnboundKey::new(&AES_256_GCM, bytes).map(LessSafeKey::new).map_err(|_| CryptoError::Derivation)
}

fn derive(master: &MasterKey, purpose: &[u8]) -> Result<[u8; 32], CryptoError> {
    let mut key = [0; 32];
    hkdf::Salt::new(hkdf::HKDF_SHA256, &[])
        .extract(&master.0)
        .expand(&[purpose], hkdf::HKDF_SHA256)
        .and_then(|output| output.fill(&mut key))
        .map_err(|_| CryptoError::Derivation)?;
    Ok(key)
}

fn associated(key_id: &[u8; KEY_ID_LENGTH], source: SourceId) -> Vec<u8> {
    let mut data = vec![LAYOUT];
    data.extend_from_slice(key_id);
    data.extend_from_slice(source.as_bytes());
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault() -> Vault {
        Vault::new(&MasterKey::generate().unwrap()).unwrap()
    }

    fn config() -> SourceConfig {
        serde_json::from_str(r#"{"host":"db","password":"hunter2"}"#).unwrap()
    }

    #[test]
    fn what_was_sealed_opens_again_and_does_not_show() {
        let (vault, source) = (vault(), SourceId::new());
        let sealed = vault.seal(source, &config()).unwrap();
        assert!(!sealed.as_bytes().windows(7).any(|window| window == b"hunter2"));
        assert_eq!(vault.open(source, &sealed).unwrap(), config());
        assert_ne!(sealed, vault.seal(source, &config()).unwrap(), "a nonce was used twice");
    }

    #[test]
    fn another_master_key_is_told_from_damage() {
        let source = SourceId::new();
        let sealed = vault().seal(source, &config()).unwrap();
        assert!(matches!(vault().open(source, &sealed), Err(CryptoError::OtherMasterKey { .. })));
    }

    #[test]
    fn every_changed_byte_and_every_cut_is_noticed() {
        let (vault, source) = (vault(), SourceId::new());
        let sealed = vault.seal(source, &config()).unwrap();
        for at in 0..sealed.0.len() {
            let mut changed = sealed.clone();
            changed.0[at] ^= 1;
            assert!(vault.open(source, &changed).is_err(), "byte {at}");
            assert!(vault.open(source, &Sealed(sealed.0[..at].to_vec())).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_config_does_not_open_in_another_sources_row() {
        let (vault, source) = (vault(), SourceId::new());
        let sealed = vault.seal(source, &config()).unwrap();
        assert!(matches!(vault.open(SourceId::new(), &sealed), Err(CryptoError::Damaged { .. })));
    }

    #[test]
    fn a_master_key_is_32_bytes_of_base64() {
        let key = MasterKey::generate().unwrap();
        assert_eq!(MasterKey::parse(&key.encode()).unwrap().0, key.0);
        let unpadded = key.encode().expose().trim_end_matches('=').to_owned();
        assert_eq!(MasterKey::parse(&Secret::new(unpadded + "\n")).unwrap().0, key.0);
        for wrong in ["", "c2hvcnQ=", "not base64 at all!", &"A".repeat(86)] {
            let refused = MasterKey::parse(&Secret::new(wrong)).unwrap_err();
            assert!(matches!(refused, CryptoError::MasterKeyForm), "{wrong}");
        }
    }
}
