//! TLS as `sslmode` and `sslrootcert` mean it.

use std::sync::Arc;

use rustls::ClientConfig;

use super::{TlsError, TlsMode, TlsOptions};

/// Required by servers that are spoken to in TLS from the first byte; others ignore it.
const ALPN: &[u8] = b"postgresql";

/// Reads the files and builds the one configuration for all connections; `None` if TLS is off.
pub(super) async fn client_config(options: &TlsOptions) -> Result<Option<Arc<ClientConfig>>, TlsError> {
    let mode = bridge_net::TlsMode::from(options.mode);
    let Some(check) = mode.check(&options.roots)? else { return Ok(None) };
    let mut config = bridge_net::client_config(check, &options.roots, options.identity.as_ref()).await?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Some(Arc::new(config)))
}

impl From<TlsMode> for bridge_net::TlsMode {
    /// What is checked is the same for `allow` and `prefer`; which of them comes first is for the connector.
    fn from(mode: TlsMode) -> Self {
        match mode {
            TlsMode::Disable => Self::Off,
            TlsMode::Allow | TlsMode::Prefer => Self::Preferred,
            TlsMode::Require => Self::Required,
            TlsMode::VerifyCa => Self::VerifyCa,
            TlsMode::VerifyFull => Self::VerifyFull,
        }
    }
}
