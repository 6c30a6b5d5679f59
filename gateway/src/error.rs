//! What can go wrong in the control plane, one variant a cause.

use std::io;
use std::path::PathBuf;

use crate::model::SourceId;

/// Keys, tokens and sealed configs.
#[derive(Debug, thiserror::Error)]
pub enum CryptoError {
    /// The system has no random numbers.
    #[error("the system gives no random numbers")]
    NoRandomness,
    /// The master key is not 32 bytes in base64.
    #[error("the master key is not 32 bytes in base64")]
    MasterKeyForm,
    /// A derivation or an encryption failed, which does not happen with the lengths used here.
    #[error("a key cannot be derived")]
    Derivation,
    /// A config was sealed under another master key.
    #[error("the config of source {source_id} was encrypted with another master key")]
    OtherMasterKey {
        /// The source.
        source_id: SourceId,
    },
    /// A sealed config was changed, cut, or put into another source's row.
    #[error("the encrypted config of source {source_id} is damaged")]
    Damaged {
        /// The source.
        source_id: SourceId,
    },
}

/// The store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another thing has this name, or the same token.
    #[error("{what} is taken")]
    Taken {
        /// What must be unique, e.g. `runner name`.
        what: &'static str,
    },
    /// What a mutation names is not there (any more).
    #[error("there is no such {what}")]
    Missing {
        /// What it is, e.g. `runner`.
        what: &'static str,
    },
    /// Something else needs it.
    #[error("the {what} is in use")]
    InUse {
        /// What it is, e.g. `source`.
        what: &'static str,
    },
    /// A row holds what this program does not write.
    #[error("the store holds a {what} that cannot be read")]
    Unreadable {
        /// What it is.
        what: &'static str,
    },
    /// The tables are of a newer program, or were changed by hand.
    #[error("the store's tables do not fit this version: {0}")]
    Migration(#[source] sqlx::migrate::MigrateError),
    /// The database failed.
    #[error("the store failed: {0}")]
    Database(#[from] sqlx::Error),
    /// The file or its folder cannot be made.
    #[error("cannot use {path}: {source}")]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Why an operator's change was not made.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// What it names is not there.
    #[error("there is no {what} {name:?}")]
    NotFound {
        /// What it would be, e.g. `runner`.
        what: &'static str,
        /// The id or name that was given.
        name: String,
    },
    /// The name is taken, or the present state forbids it.
    #[error("{0}")]
    Conflict(String),
    /// A field is wrong.
    #[error("{field}: expected {expected}")]
    Invalid {
        /// Dotted path of the field.
        field: String,
        /// What would have been right.
        expected: String,
    },
    /// A pushed config has mistakes.
    #[error(transparent)]
    Config(#[from] ConfigMistakes),
    /// A key or token.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ControlError {
    /// A wrong field.
    pub fn invalid(field: impl Into<String>, expected: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), expected: expected.into() }
    }
}

/// Everything that is wrong with a pushed config. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the config has {}", counted(.0.len()))]
pub struct ConfigMistakes(pub Vec<ConfigMistake>);

/// One thing that is wrong with a pushed config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigMistake {
    /// Dotted path, e.g. `lenses.products.fields.price.type`; empty for the document as a whole.
    pub path: String,
    /// What is wrong and what would be right. Never a value of the config: it may be a secret.
    pub message: String,
}

/// Why the gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The master key or a sealed config.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// The store was made with another master key.
    #[error("the master key is not the one that this store was made with; nothing was changed")]
    OtherMasterKey,
    /// The store's key file is gone.
    #[error(
        "the master key {path} is missing: put it back, or give it as SEMILAYER_MASTER_KEY; nothing was changed"
    )]
    KeyMissing {
        /// Where it was.
        path: PathBuf,
    },
    /// Another gateway has the store.
    #[error("{path} is in use by another gateway")]
    InUse {
        /// The store.
        path: PathBuf,
    },
    /// The key file.
    #[error("cannot use {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The key file can be read by others.
    #[error("{path} can be read by other users; set its mode to 0600")]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// The certificate.
    #[error(transparent)]
    Tls(#[from] runtime::error::TlsError),
    /// The address.
    #[error("cannot listen on {address}: {source}; choose another address with --listen")]
    Bind {
        /// What was asked for.
        address: String,
        /// What the system said.
        source: io::Error,
    },
}

fn counted(mistakes: usize) -> String {
    if mistakes == 1 { "1 mistake".to_owned() } else { format!("{mistakes} mistakes") }
}
