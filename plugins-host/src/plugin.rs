//! A plugin that has been loaded: a driver like the native ones.

use std::fmt;
use std::sync::Arc;

use bridge_core::{BoxFuture, Bridge, BridgeError, Call, ConfigMistakes, Driver};
use bridge_net::Roots;
use protocol::{AggregateCapabilities, Capabilities, JobKind, Manifest, SourceConfig};

use crate::allow::Allowlist;
use crate::answer::Asked;
use crate::bindings::bridge::Description;
use crate::bindings::types::Provides;
use crate::bridge::Source;
use crate::call::CallState;
use crate::describe::Described;
use crate::engine::Prepared;
use crate::error::{LoadError, PluginFailure};
use crate::guest::{Blueprint, Guest};
use crate::inspect::Inspection;
use crate::instance::within;
use crate::limits::{DESCRIBE_TIME, Limits};
use crate::log::Budget;
use crate::network::{Allowed, Outside};
use crate::pool::{Crowd, Pool};
use crate::settings::Settings;
use crate::stats::{PluginStats, Stats};

/// What the operator lets a plugin do. By default it may compute and nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants {
    /// How much it may use.
    pub limits: Limits,
    /// To where it may connect, beside the hosts that a source's own configuration names.
    pub allow: Allowlist,
    /// Whether `wasi:sockets` works, under the same list.
    pub sockets: bool,
}

/// A plugin.
pub struct Plugin {
    described: Arc<Described>,
    blueprint: Arc<Blueprint>,
    crowd: Arc<Crowd>,
    hash: String,
    inspection: Inspection,
}

impl Plugin {
    /// Name and version of the SDK that it was made with.
    pub fn sdk(&self) -> &str {
        &self.described.sdk
    }

    /// The kinds of job that it answers itself, beside `read`.
    pub fn provides(&self) -> Vec<JobKind> {
        let kinds = [
            (Provides::QUERY, JobKind::Query),
            (Provides::COUNT, JobKind::Count),
            (Provides::AGGREGATE, JobKind::Aggregate),
            (Provides::SEARCH, JobKind::Search),
            (Provides::SIMILAR, JobKind::Similar),
        ];
        kinds
            .into_iter()
            .filter(|(flag, _)| self.described.provides.contains(*flag))
            .map(|(_, kind)| kind)
            .collect()
    }

    /// The settings that name hosts: to these a source's instances may connect.
    pub fn endpoints(&self) -> &[String] {
        &self.described.endpoints
    }

    /// The hosts that a configuration names, each as an entry of an [`Allowlist`].
    ///
    /// # Errors
    /// What is wrong with the configuration, by the manifest alone.
    pub fn hosts(&self, config: &SourceConfig) -> Result<Vec<String>, ConfigMistakes> {
        let endpoints = self.settings(config)?.endpoints;
        Ok(endpoints.iter().map(ToString::to_string).collect())
    }

    /// SHA-256 of its file, in hex.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// What its file says: imports, exports, size, version of the interface.
    pub fn inspection(&self) -> &Inspection {
        &self.inspection
    }

    /// What it has done so far.
    pub fn stats(&self) -> PluginStats {
        self.blueprint.stats.now()
    }

    /// A component that has been compiled, with what it says of itself.
    pub(crate) fn new(
        prepared: Prepared,
        description: Description,
        grants: impl FnOnce(&str) -> Grants,
    ) -> Result<Self, LoadError> {
        let described = Described::read(description)?;
        let name: Arc<str> = described.manifest.package_name.as_str().into();
        let grants = grants(&name);
        let stats = Arc::new(Stats::default());
        let crowd = Crowd::new(grants.limits.instances, Arc::clone(&stats));
        let Prepared { guest, hash, inspection, roots, .. } = prepared;
        let blueprint = blueprint(guest, name, grants, roots, stats);
        Ok(Self { described: Arc::new(described), blueprint, crowd, hash, inspection })
    }

    pub(crate) fn blueprint(&self) -> &Arc<Blueprint> {
        &self.blueprint
    }

    pub(crate) fn settings(&self, config: &SourceConfig) -> Result<Settings, ConfigMistakes> {
        Settings::read(&self.described, config)
    }

    async fn open(&self, config: &SourceConfig, call: &Call) -> Result<Box<dyn Bridge>, BridgeError> {
        let settings = self.settings(config)?;
        let pool = Pool::new(Arc::clone(&self.blueprint), settings, Arc::clone(&self.crowd));
        let plugin = Arc::clone(&self.blueprint.plugin);
        // The first connection, which then waits for the first job.
        let first = pool.lease(call).await;
        let asked = Asked { plugin: Arc::clone(&plugin), kind: JobKind::Test, target: String::new() };
        drop(first.map_err(|failed| asked.failure(failed))?);
        Ok(Box::new(Source::new(Arc::clone(&self.described), plugin, pool)))
    }
}

impl Prepared {
    /// Asks it what it is, in an instance without any network.
    pub(crate) async fn describe(&self) -> Result<Description, LoadError> {
        let (guest, roots) = (self.guest.clone(), self.roots.clone());
        let nameless = blueprint(guest, "(loading)".into(), Grants::default(), roots, Arc::default());
        let call = CallState::within(DESCRIBE_TIME);
        let asked =
            async { Guest::start(nameless, Vec::new(), Vec::new(), call.clone()).await?.describe().await };
        // Nobody waits for it to unwind.
        let description = within(&call, std::time::Duration::ZERO, asked).await;
        description.map_err(|failure| {
            LoadError::Describe(match failure {
                PluginFailure::Unresponsive { .. } => PluginFailure::Computing { limit: DESCRIBE_TIME },
                other => other,
            })
        })
    }
}

impl Driver for Plugin {
    fn name(&self) -> &str {
        &self.blueprint.plugin
    }

    fn version(&self) -> &str {
        &self.described.version
    }

    fn manifest(&self) -> &Manifest {
        &self.described.manifest
    }

    fn capabilities(&self) -> &Capabilities {
        &self.described.capabilities
    }

    fn aggregate_capabilities(&self) -> &AggregateCapabilities {
        &self.described.aggregates
    }

    /// Looks at what the manifest says; what only the plugin can judge comes up when it connects.
    fn check(&self, config: &SourceConfig) -> Result<(), ConfigMistakes> {
        self.settings(config).map(drop)
    }

    fn connect<'a>(
        &'a self,
        config: &'a SourceConfig,
        call: &'a Call,
    ) -> BoxFuture<'a, Result<Box<dyn Bridge>, BridgeError>> {
        Box::pin(self.open(config, call))
    }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugin")
            .field("name", &self.blueprint.plugin)
            .field("version", &self.described.version)
            .field("hash", &self.hash)
            .finish_non_exhaustive()
    }
}

fn blueprint(
    component: crate::bindings::BridgePluginPre<crate::state::State>,
    plugin: Arc<str>,
    grants: Grants,
    roots: Roots,
    stats: Arc<Stats>,
) -> Arc<Blueprint> {
    let Grants { limits, allow, sockets } = grants;
    let allowed = Allowed { hosts: allow, sockets: limits.sockets, wasi_sockets: sockets };
    let outside = Outside::new(Arc::clone(&plugin), allowed, roots, Arc::clone(&stats));
    let log = Arc::new(Budget::new(Arc::clone(&stats)));
    Arc::new(Blueprint { component, plugin, limits, outside, log, stats })
}
