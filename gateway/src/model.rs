//! What the control plane knows: runners, sources, keys, and the ids that name them.
//!
//! These are facts as they are kept, without any state of a connection: whether a runner is online is derived from its
//! live sessions and never stored, so that no disconnect can undo a revocation. Lenses are in [`crate::lens`].

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use protocol::{CredentialsLocation, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::capability::{CapabilitySet, Scope};
use crate::crypto::Sealed;
use crate::token::{TokenHash, TokenKind};

/// How long a job of a source may take when nothing else is said, in milliseconds.
pub const DEFAULT_TIMEOUT_MS: u64 = 30_000;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id, a UUID of version 7: ids sort by the time at which they were made.
            #[expect(clippy::new_without_default, reason = "a default id would be a different one each time")]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }

            /// An id that was read from somewhere.
            pub const fn from_uuid(id: Uuid) -> Self {
                Self(id)
            }

            /// The UUID itself.
            pub const fn uuid(&self) -> Uuid {
                self.0
            }

            /// The sixteen bytes as the store keeps them.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }
    };
}

id! {
    /// Names a runner: the credential, not one of the processes that use it.
    RunnerId
}
id! {
    /// Names a source.
    SourceId
}
id! {
    /// Names a key of an application.
    KeyId
}
id! {
    /// Names a row of the audit log.
    AuditId
}
id! {
    /// Names a job, from its request on.
    JobId
}

/// A runner that may dial in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runner {
    /// Its id.
    pub id: RunnerId,
    /// Its name, unique among the runners.
    pub name: String,
    /// What operators tell runners apart by.
    pub labels: BTreeMap<String, String>,
    /// What operators let it do beside queries. What it does is also up to its own settings.
    pub capabilities: CapabilitySet,
    /// The end of its token, to recognise it by.
    pub token_hint: TokenHint,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was revoked, which is for good.
    pub revoked_at: Option<Timestamp>,
    /// When a session of it was last alive, as far as that was written down: on connect, on disconnect and every
    /// 20 seconds between.
    pub last_seen_at: Option<Timestamp>,
}

impl Runner {
    /// Whether it was revoked.
    pub const fn is_revoked(&self) -> bool {
        self.revoked_at.is_some()
    }
}

/// A database that jobs can name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its id.
    pub id: SourceId,
    /// Its name, unique among the sources.
    pub name: String,
    /// Package name of the bridge, e.g. `@semilayer/bridge-postgres`; the short form has been expanded.
    pub bridge: String,
    /// Where its credentials are.
    pub credentials: Credentials,
    /// How long a job may take, in milliseconds.
    pub timeout_ms: u64,
    /// Who made it.
    pub origin: Origin,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// Who made a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// An operator, by itself. Pushes may change it and never remove it.
    Api,
    /// A pushed config. A push without it removes it.
    Config,
}

impl Origin {
    /// The word in the store and in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Config => "config",
        }
    }
}

/// Where a source's credentials are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// Here, encrypted; they go to the runners that the source is assigned to.
    Managed(Sealed),
    /// In the environment of the runners. Nothing is kept here.
    RunnerLocal,
}

impl Credentials {
    /// The same without the credentials.
    pub const fn location(&self) -> CredentialsLocation {
        match self {
            Self::Managed(_) => CredentialsLocation::Managed,
            Self::RunnerLocal => CredentialsLocation::RunnerLocal,
        }
    }
}

/// A key that applications ask with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its id.
    pub id: KeyId,
    /// What it may do.
    pub kind: KeyKind,
    /// What it may do beside queries; nothing with a public key.
    pub scopes: Vec<Scope>,
    /// Its name, unique among the keys that were not revoked.
    pub name: String,
    /// The end of its token, to recognise it by.
    pub token_hint: TokenHint,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was revoked, which is for good.
    pub revoked_at: Option<Timestamp>,
}

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyKind {
    /// `sk_`: everything; grants do not apply. For servers.
    Secret,
    /// `pk_`: what the grants of a lens allow. Safe in a browser.
    Public,
}

impl KeyKind {
    /// The word in the store and in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Public => "public",
        }
    }

    /// The kind of token that such keys are.
    pub const fn token_kind(self) -> TokenKind {
        match self {
            Self::Secret => TokenKind::SecretKey,
            Self::Public => TokenKind::PublicKey,
        }
    }
}

impl FromStr for KeyKind {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        [Self::Secret, Self::Public].into_iter().find(|kind| kind.as_str() == word).ok_or(())
    }
}

/// What is shown of a token after its first and only showing: prefix and last four characters, `rk_…a1B2`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenHint {
    /// Prefix of the token's kind.
    pub kind: TokenKind,
    /// The last four characters.
    pub last4: String,
}

impl fmt::Display for TokenHint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}…{}", self.kind.prefix(), self.last4)
    }
}

/// All that the store holds of the control plane, as it is read to make a [`Snapshot`](crate::snapshot::Snapshot).
#[derive(Debug, Clone, Default)]
pub struct Records {
    /// Every runner with its token's hash, revoked ones too.
    pub runners: Vec<(Runner, TokenHash)>,
    /// Every source.
    pub sources: Vec<Source>,
    /// Which runner has which source.
    pub assignments: Vec<(RunnerId, SourceId)>,
    /// Every lens.
    pub lenses: Vec<crate::lens::Lens>,
    /// Every key with its token's hash, revoked ones too.
    pub keys: Vec<(Key, TokenHash)>,
}

/// The present time, to the microsecond.
pub fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
}
