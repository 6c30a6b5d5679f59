//! A kind of database, as the host and the gateway see it, and the short way of being one that is compiled in.

use protocol::{AggregateCapabilities, Capabilities, Manifest, SourceConfig};

use crate::{BoxFuture, Bridge, BridgeError, Call, ConfigMistakes};

/// A kind of database.
pub trait Driver: Send + Sync {
    /// Package name, `@semilayer/bridge-<database>`.
    fn name(&self) -> &str;

    /// The bridge's own version.
    fn version(&self) -> &str {
        env!("CARGO_PKG_VERSION")
    }

    /// What a configuration has. Constant, and known before anything connects.
    fn manifest(&self) -> &Manifest;

    /// What the bridge can do. Constant.
    fn capabilities(&self) -> &Capabilities;

    /// What the bridge can aggregate. Constant.
    fn aggregate_capabilities(&self) -> &AggregateCapabilities;

    /// Looks for every mistake in a configuration, without IO.
    fn check(&self, config: &SourceConfig) -> Result<(), ConfigMistakes>;

    /// Opens the source: at least one connection has been made and has answered when this returns.
    fn connect<'a>(
        &'a self,
        config: &'a SourceConfig,
        call: &'a Call,
    ) -> BoxFuture<'a, Result<Box<dyn Bridge>, BridgeError>>;
}

/// What a driver says of itself before anything connects.
#[derive(Debug, Clone, Copy)]
pub struct Declaration<'a> {
    /// What a configuration has; its package name is the driver's.
    pub manifest: &'a Manifest,
    /// What the bridge can do.
    pub capabilities: &'a Capabilities,
    /// What the bridge can aggregate.
    pub aggregates: &'a AggregateCapabilities,
}

/// A driver that is compiled in. It has the version of all of them.
pub trait NativeDriver: Send + Sync {
    /// What it says of itself. Constant.
    fn declaration(&self) -> Declaration<'_>;

    /// As [`Driver::check`].
    fn check(&self, config: &SourceConfig) -> Result<(), ConfigMistakes>;

    /// As [`Driver::connect`].
    fn connect(
        &self,
        config: &SourceConfig,
        call: &Call,
    ) -> impl Future<Output = Result<Box<dyn Bridge>, BridgeError>> + Send;
}

impl<D: NativeDriver> Driver for D {
    fn name(&self) -> &str {
        &self.declaration().manifest.package_name
    }

    fn manifest(&self) -> &Manifest {
        self.declaration().manifest
    }

    fn capabilities(&self) -> &Capabilities {
        self.declaration().capabilities
    }

    fn aggregate_capabilities(&self) -> &AggregateCapabilities {
        self.declaration().aggregates
    }

    fn check(&self, config: &SourceConfig) -> Result<(), ConfigMistakes> {
        NativeDriver::check(self, config)
    }

    fn connect<'a>(
        &'a self,
        config: &'a SourceConfig,
        call: &'a Call,
    ) -> BoxFuture<'a, Result<Box<dyn Bridge>, BridgeError>> {
        Box::pin(NativeDriver::connect(self, config, call))
    }
}
