//! Where a page ended, as text that callers hand back.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use protocol::Invalid;

/// Marks the form for several columns; a plain key that begins with it takes that form, too.
const PREFIX: &str = "k1.";

/// The key of a page's last row: one entry a column of the order, each as rows carry it, nothing for null.
///
/// A single key that is not null is its plain text, as the published bridges write it, so that a scan begun with one of
/// them can go on here. Everything else is `k1.` and base64url of a JSON list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Position(pub Vec<Option<String>>);

impl Position {
    /// The cursor's text.
    pub fn encode(&self) -> String {
        match self.0.as_slice() {
            [Some(key)] if !key.is_empty() && !key.starts_with(PREFIX) => key.clone(),
            keys => {
                format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(serde_json::to_vec(keys).unwrap_or_default()))
            }
        }
    }

    /// Reads a cursor for an order of `columns` columns.
    pub fn decode(cursor: &str, columns: usize) -> Result<Self, Invalid> {
        let refused = || Invalid::new("cursor", "a cursor of this target and order");
        let keys = match cursor.strip_prefix(PREFIX) {
            Some(packed) => {
                let json = URL_SAFE_NO_PAD.decode(packed).map_err(|_| refused())?;
                serde_json::from_slice(&json).map_err(|_| refused())?
            }
            None => vec![Some(cursor.to_owned())],
        };
        if keys.len() != columns {
            return Err(refused());
        }
        Ok(Self(keys))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_key_is_plain_and_reads_back() {
        let position = Position(vec![Some("42".to_owned())]);
        assert_eq!(position.encode(), "42");
        assert_eq!(Position::decode("42", 1), Ok(position));
    }

    #[test]
    fn every_position_reads_back() {
        for keys in [
            vec![Some(String::new())],
            vec![Some("k1.x".to_owned())],
            vec![None],
            vec![Some("a".to_owned()), None, Some("b\"".to_owned())],
        ] {
            let position = Position(keys);
            assert_eq!(Position::decode(&position.encode(), position.0.len()), Ok(position));
        }
    }

    #[test]
    fn a_cursor_for_another_order_is_refused() {
        for cursor in ["42", "k1.!!", "k1.W10", "k1.WzFd"] {
            assert_eq!(Position::decode(cursor, 2).unwrap_err().field, "cursor");
        }
    }
}
