//! A secret in a file of its own, as container platforms mount it.

use std::fs::{File, Metadata};
use std::io::Read as _;
use std::path::Path;

use protocol::Secret;

use crate::error::SecretFileError;

/// More than any key or certificate chain; a larger file is a mistaken path.
const LIMIT_BYTES: u64 = 64 * 1024;

/// What a secret file held.
#[derive(Clone, Debug)]
pub struct SecretFile {
    /// The content without one trailing newline.
    pub secret: Secret,
    /// Whether users other than the owner can read the file.
    pub exposed: bool,
}

/// Reads a secret from a regular file of at most 64 KiB, UTF-8 and not empty. Exactly one trailing newline (`\n` or
/// `\r\n`) is not part of the secret.
pub fn read_secret_file(path: &Path) -> Result<SecretFile, SecretFileError> {
    // Asked before opening: opening a pipe would wait for its writer.
    let metadata = std::fs::metadata(path).map_err(SecretFileError::Unreadable)?;
    if !metadata.is_file() {
        return Err(SecretFileError::NotAFile);
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LIMIT_BYTES + 1).read_to_end(&mut bytes))
        .map_err(SecretFileError::Unreadable)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > LIMIT_BYTES) {
        return Err(SecretFileError::TooLarge { limit: LIMIT_BYTES });
    }
    let text = String::from_utf8(bytes).map_err(|_| SecretFileError::NotText)?;
    let text = without_newline(&text);
    if text.is_empty() {
        return Err(SecretFileError::Empty);
    }
    Ok(SecretFile { secret: Secret::new(text), exposed: is_exposed(&metadata) })
}

fn without_newline(text: &str) -> &str {
    text.strip_suffix("\r\n").or_else(|| text.strip_suffix('\n')).unwrap_or(text)
}

#[cfg(unix)]
fn is_exposed(metadata: &Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    metadata.permissions().mode() & 0o044 != 0
}

#[cfg(not(unix))]
fn is_exposed(_: &Metadata) -> bool {
    false
}
