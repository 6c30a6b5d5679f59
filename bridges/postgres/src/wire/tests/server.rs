//! How the client meets the servers of the tests.

use super::scripted::soon;
pub(super) use super::support::*;
use crate::wire::{ConnectOptions, Connection, Endpoint, Roots, TlsMode};

impl Server {
    /// Options for a role over TCP without TLS.
    pub(super) fn options(&self, role: &str) -> ConnectOptions {
        let endpoint = Endpoint::Tcp { host: "127.0.0.1".to_owned(), port: self.port };
        let mut options = ConnectOptions::new(endpoint, role, &self.database);
        options.password = self.password(role).map(|password| password.to_owned().into());
        options.tls.mode = TlsMode::Disable;
        options
    }

    /// Options for a role with TLS in some mode.
    pub(super) fn encrypted(&self, role: &str, mode: TlsMode, roots: Roots) -> ConnectOptions {
        let mut options = self.options(role);
        options.tls.mode = mode;
        options.tls.roots = roots;
        options
    }

    /// A connection as `admin`.
    pub(super) async fn connect(&self) -> Connection {
        Connection::connect(&self.options("admin"), soon()).await.unwrap()
    }
}
