//! Bearer tokens: made here, shown once, and from then on known by their hash alone.
//!
//! A token is a prefix that says what it is for and 32 random bytes in base64url: `sk_` + 43 characters. With that much
//! entropy a plain SHA-256 is a safe thing to keep.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use protocol::Secret;
use ring::digest;
use ring::rand::{SecureRandom, SystemRandom};

use crate::error::CryptoError;
use crate::model::TokenHint;

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TokenKind {
    /// `rk_`: a runner's socket, and nothing else.
    Runner,
    /// `sk_`: a server's key.
    SecretKey,
    /// `pk_`: a browser's key.
    PublicKey,
    /// `ak_`: the operators' API.
    Admin,
}

impl TokenKind {
    /// What its tokens start with.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Runner => "rk_",
            Self::SecretKey => "sk_",
            Self::PublicKey => "pk_",
            Self::Admin => "ak_",
        }
    }

    /// The kind that a token claims to be.
    pub fn of(token: &str) -> Option<Self> {
        [Self::Runner, Self::SecretKey, Self::PublicKey, Self::Admin]
            .into_iter()
            .find(|kind| token.starts_with(kind.prefix()))
    }
}

/// What a token must be that an operator chooses, for messages.
pub const EXPECTED_TOKEN: &str =
    "expected a token of visible ASCII characters alone: no blanks, no letters such as ä";

/// Whether a request can carry `token`. Those that are made here are letters, digits, `-` and `_`.
pub fn is_token(token: &Secret) -> bool {
    token.expose().bytes().all(|byte| byte.is_ascii_graphic())
}

/// A token that was just made.
#[derive(Debug)]
pub struct Minted {
    /// The token, to be shown once.
    pub token: Secret,
    /// What is kept of it.
    pub hash: TokenHash,
    /// What is shown of it later.
    pub hint: TokenHint,
}

/// Makes a token.
pub fn mint(kind: TokenKind) -> Result<Minted, CryptoError> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| CryptoError::NoRandomness)?;
    let random = URL_SAFE_NO_PAD.encode(bytes);
    let token = format!("{}{random}", kind.prefix());
    Ok(Minted { hash: TokenHash::of(&token), hint: hint(kind, &token), token: Secret::new(token) })
}

/// What is shown of `token` once it is kept.
pub fn hint(kind: TokenKind, token: &str) -> TokenHint {
    let start = token.char_indices().nth_back(3).map_or(0, |(start, _)| start);
    TokenHint { kind, last4: token.get(start..).unwrap_or_default().to_owned() }
}

/// SHA-256 of a token.
///
/// A table may be searched by it: what an attacker could learn from the time of a look-up is a prefix of a hash, and
/// nobody can choose a token by its hash. Where one token is compared with another, use [`matches`](Self::matches).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// The hash of `token`.
    pub fn of(token: &str) -> Self {
        Self::sha256(token.as_bytes())
    }

    /// The hash that the store kept; `None` when it is not 32 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The bytes as the store keeps them.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether both are the same, in a time that does not depend on where they differ.
    pub fn matches(&self, other: &Self) -> bool {
        let difference = self.0.iter().zip(other.0).fold(0, |sum, (a, b)| sum | (a ^ b));
        std::hint::black_box(difference) == 0
    }

    fn sha256(bytes: &[u8]) -> Self {
        let mut hash = [0; 32];
        for (to, from) in hash.iter_mut().zip(digest::digest(&digest::SHA256, bytes).as_ref()) {
            *to = *from;
        }
        Self(hash)
    }
}

/// Eight hexadecimal digits are enough to tell two apart in a log.
impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(")?;
        self.0.iter().take(4).try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str("…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_a_prefix_and_43_characters_of_base64url() {
        let minted = mint(TokenKind::Runner).unwrap();
        let token = minted.token.expose();
        assert_eq!(token.len(), "rk_".len() + 43);
        assert_eq!(URL_SAFE_NO_PAD.decode(token.strip_prefix("rk_").unwrap()).unwrap().len(), 32);
        assert_eq!(TokenKind::of(token), Some(TokenKind::Runner));
        assert!(minted.hash.matches(&TokenHash::of(token)));
        assert!(token.ends_with(&minted.hint.last4) && minted.hint.last4.len() == 4);
        assert_ne!(token, mint(TokenKind::Runner).unwrap().token.expose());
    }

    #[test]
    fn neither_debug_nor_hint_shows_a_token() {
        let minted = mint(TokenKind::SecretKey).unwrap();
        let shown = format!("{minted:?} {}", minted.hint);
        assert!(!shown.contains(&minted.token.expose()[3..20]), "{shown}");
    }

    #[test]
    fn the_hash_is_sha256() {
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let hash: String = TokenHash::of("abc").as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hash, known);
    }

    #[test]
    fn a_hint_of_a_short_or_foreign_token_does_not_split_a_character() {
        assert_eq!(hint(TokenKind::Admin, "ab").last4, "ab");
        assert_eq!(hint(TokenKind::Admin, "passwörter").last4, "rter");
        assert_eq!(hint(TokenKind::Admin, "xäöüß").last4, "äöüß");
    }
}
