//! Why a server cannot start.

use std::io;
use std::path::PathBuf;

use runtime::error::TlsError;

use crate::SandboxError;

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The port is taken, or the address is not ours.
    #[error("cannot listen on {address}: {source}{}", taken(.source))]
    Bind {
        /// The address that was asked for.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// Another server works with this folder.
    #[error("{folder} is used by another server; give this one a folder of its own with {option}")]
    InUse {
        /// The folder of states, or that of artifacts.
        folder: PathBuf,
        /// The option that names another one.
        option: &'static str,
    },
    /// A folder cannot be used.
    #[error("cannot use {folder}: {source}")]
    Folder {
        /// Which.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An option is wrong, or the states cannot be read.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// Certificates that callbacks are to trust cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

fn taken(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; another program listens there, choose one with --port",
        _ => "",
    }
}
