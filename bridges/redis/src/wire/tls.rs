//! TLS: what is checked is what the mode says, whether roots are given or not.

use std::sync::Arc;

use bridge_net::Check;
use rustls::ClientConfig;

use super::{TlsError, TlsMode, TlsOptions};

/// Reads the files and builds the one configuration for all connections; `None` if TLS is off.
pub(super) async fn client_config(options: &TlsOptions) -> Result<Option<Arc<ClientConfig>>, TlsError> {
    let check = match options.mode {
        TlsMode::Disable => return Ok(None),
        TlsMode::Require => Check::Nothing,
        TlsMode::VerifyCa => Check::Chain,
        TlsMode::VerifyFull => Check::ChainAndName,
    };
    let config = bridge_net::client_config(check, &options.roots, options.identity.as_ref()).await?;
    Ok(Some(Arc::new(config)))
}
