//! Proofs of knowing the password, by the name of the server's plugin.

use ring::digest::{self, Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256};

use super::AuthError;
use super::dial::Privacy;

pub(super) const CACHING_SHA2: &str = "caching_sha2_password";
pub(super) const NATIVE: &str = "mysql_native_password";
const SHA256_PASSWORD: &str = "sha256_password";
const CLEAR: &str = "mysql_clear_password";
/// The account of the operating system proves itself by the socket.
const SOCKETS: [&str; 2] = ["auth_socket", "unix_socket"];

/// The first answer to a plugin's `nonce`.
pub(super) fn answer(
    plugin: &str,
    password: &str,
    nonce: &[u8],
    privacy: Privacy,
) -> Result<Vec<u8>, AuthError> {
    match plugin {
        NATIVE | CACHING_SHA2 if password.is_empty() => Ok(Vec::new()),
        NATIVE => Ok(native(password, nonce)),
        CACHING_SHA2 => Ok(caching_sha2(password, nonce)),
        CLEAR => clear(CLEAR, password, privacy),
        SHA256_PASSWORD => clear(SHA256_PASSWORD, password, privacy),
        socket if SOCKETS.contains(&socket) => Ok(Vec::new()),
        other => Err(AuthError::Unsupported(other.chars().take(64).collect())),
    }
}

/// The password itself, where nobody in between can read it.
pub(super) fn clear(plugin: &'static str, password: &str, privacy: Privacy) -> Result<Vec<u8>, AuthError> {
    match privacy {
        Privacy::Private => Ok([password.as_bytes(), b"\0"].concat()),
        Privacy::Open => Err(AuthError::NeedsPrivacy(plugin)),
    }
}

/// `SHA1(password) XOR SHA1(nonce + SHA1(SHA1(password)))`
fn native(password: &str, nonce: &[u8]) -> Vec<u8> {
    let once = hash(&SHA1_FOR_LEGACY_USE_ONLY, &[password.as_bytes()]);
    let twice = hash(&SHA1_FOR_LEGACY_USE_ONLY, &[&once]);
    xor(&once, &hash(&SHA1_FOR_LEGACY_USE_ONLY, &[nonce, &twice]))
}

/// `SHA256(password) XOR SHA256(SHA256(SHA256(password)) + nonce)`
fn caching_sha2(password: &str, nonce: &[u8]) -> Vec<u8> {
    let once = hash(&SHA256, &[password.as_bytes()]);
    let twice = hash(&SHA256, &[&once]);
    xor(&once, &hash(&SHA256, &[&twice, nonce]))
}

fn hash(algorithm: &'static Algorithm, parts: &[&[u8]]) -> Vec<u8> {
    digest::digest(algorithm, &parts.concat()).as_ref().to_vec()
}

fn xor(left: &[u8], right: &[u8]) -> Vec<u8> {
    left.iter().zip(right).map(|(left, right)| left ^ right).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_itself_never_goes_over_an_open_connection() {
        for plugin in [CLEAR, SHA256_PASSWORD] {
            let refused = answer(plugin, "secret", &[0; 20], Privacy::Open).unwrap_err();
            assert!(refused.to_string().contains("use TLS"), "{refused}");
            assert_eq!(answer(plugin, "secret", &[0; 20], Privacy::Private).unwrap(), b"secret\0");
        }
    }

    #[test]
    fn a_plugin_that_is_not_known_is_named() {
        let refused = answer("client_ed25519", "secret", &[0; 20], Privacy::Private).unwrap_err();
        assert!(refused.to_string().contains("client_ed25519"), "{refused}");
    }
}
