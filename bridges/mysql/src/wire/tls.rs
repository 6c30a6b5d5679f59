//! TLS as `ssl-mode` and `ssl-ca` mean it.

use std::sync::Arc;

use rustls::ClientConfig;

use super::{TlsError, TlsMode, TlsOptions};

/// Reads the files and builds the one configuration for all connections; `None` if TLS is off.
pub(super) async fn client_config(options: &TlsOptions) -> Result<Option<Arc<ClientConfig>>, TlsError> {
    let mode = bridge_net::TlsMode::from(options.mode);
    let Some(check) = mode.check(&options.roots)? else { return Ok(None) };
    let config = bridge_net::client_config(check, &options.roots, options.identity.as_ref()).await?;
    Ok(Some(Arc::new(config)))
}

impl From<TlsMode> for bridge_net::TlsMode {
    fn from(mode: TlsMode) -> Self {
        match mode {
            TlsMode::Disabled => Self::Off,
            TlsMode::Preferred => Self::Preferred,
            TlsMode::Required => Self::Required,
            TlsMode::VerifyCa => Self::VerifyCa,
            TlsMode::VerifyIdentity => Self::VerifyFull,
        }
    }
}
