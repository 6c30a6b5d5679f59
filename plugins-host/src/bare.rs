//! One instance and nothing around it: no pool, no task, no job. For measuring what an instance and a call cost.

use std::fmt;
use std::sync::Arc;

use bridge_core::{BridgeError, Call};
use protocol::{JobKind, SourceConfig};

use crate::answer::Asked;
use crate::ask::Failed;
use crate::call::CallState;
use crate::error::PluginFailure;
use crate::guest::Guest;
use crate::plugin::Plugin;

/// An instance of a plugin. Its calls have all the limits of others but a deadline.
pub struct Bare {
    guest: Guest,
    plugin: Arc<str>,
}

impl Plugin {
    /// Makes an instance as each connection of a source has one.
    ///
    /// # Errors
    /// As the instance of a source: it does not start within the plugin's limits.
    pub async fn bare(&self) -> Result<Bare, PluginFailure> {
        let blueprint = self.blueprint();
        let call = CallState::new(&Call::within(blueprint.limits.computing));
        let plugin = Arc::clone(&blueprint.plugin);
        let guest = Guest::start(Arc::clone(blueprint), Vec::new(), Vec::new(), call).await?;
        Ok(Bare { guest, plugin })
    }
}

impl Bare {
    /// Opens its connection, which [`test`](Self::test) then is a call on.
    ///
    /// # Errors
    /// What the plugin says, or how it failed.
    pub async fn connect(&mut self, plugin: &Plugin, config: &SourceConfig) -> Result<(), BridgeError> {
        let settings = plugin.settings(config)?;
        let answer = self.guest.connect(settings.config().expose()).await;
        self.told(answer)
    }

    /// The smallest call there is: one handle in, one flag out.
    ///
    /// # Errors
    /// Likewise.
    pub async fn test(&mut self) -> Result<(), BridgeError> {
        let answer = self.guest.test().await;
        self.told(answer)
    }

    fn told(&self, answer: Result<crate::guest::Said<()>, PluginFailure>) -> Result<(), BridgeError> {
        let said = answer.map_err(BridgeError::from)?;
        said.map_err(|error| {
            let plugin = Arc::clone(&self.plugin);
            Asked { plugin, kind: JobKind::Test, target: String::new() }.failure(Failed::Said(error))
        })
    }
}

impl fmt::Debug for Bare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bare").field("plugin", &self.plugin).finish_non_exhaustive()
    }
}
