//! What stands in for plugins in a build without them: there are none, and settings that ask for some are not accepted in
//! silence.

use runtime::settings::{Key, Reader};
use serde_json::{Value, json};
use toml::Table;

use crate::cli::Flags;
use crate::error::StartError;
use crate::metrics::PluginUse;
use crate::registry::Registry;

/// No settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PluginSettings {}

/// No plugins.
pub(crate) struct Plugins;

impl PluginSettings {
    pub(crate) fn read(reader: &mut Reader<'_>, flags: &Flags, table: &Table) -> Self {
        let dir = Key::env("SEMILAYER_PLUGIN_DIR").file("plugin_dir");
        let dir = reader.text(dir.flag("--plugin-dir", flags.plugin_dir.clone()));
        if dir.is_some() || table.contains_key("plugins") {
            reader.warn("SEMILAYER_PLUGIN_DIR", "has no effect: this build has no plugins");
        }
        Self {}
    }
}

impl Plugins {
    pub(crate) async fn load(_settings: &PluginSettings, _registry: Registry) -> Result<Self, StartError> {
        std::future::ready(Ok(Self)).await
    }

    pub(crate) async fn changed(&self, _settings: &PluginSettings) -> bool {
        std::future::pending().await
    }

    pub(crate) fn status(&self) -> Value {
        json!([])
    }

    pub(crate) fn uses(&self) -> Vec<PluginUse> {
        Vec::new()
    }

    pub(crate) fn problems(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}
