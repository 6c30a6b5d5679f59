//! Pushed configs: compared, and put in place as a whole.

use super::{By, Control, Staged};
use crate::audit::action;
use crate::config::{Config, ConfigWarning, Diff, plan};
use crate::error::ControlError;
use crate::snapshot::Change;

/// What a push did, or would do.
#[derive(Debug, Clone)]
pub struct Pushed {
    /// What differs.
    pub diff: Diff,
    /// What was accepted and has no effect.
    pub warnings: Vec<ConfigWarning>,
}

impl Control {
    /// Puts a config in place in one transaction. One that changes nothing is a change nonetheless: the log has it.
    pub async fn push(&self, by: &By, config: Config) -> Result<Pushed, ControlError> {
        let (turn, snapshot) = self.begin().await;
        let plan = plan(&config, &snapshot)?;
        let change = Staged {
            action: action::CONFIG_PUSH,
            target: "config".to_owned(),
            mutations: plan.mutations,
            news: vec![Change::Catalog, Change::Assignments(plan.runners)],
        };
        self.commit(&turn, by, change).await?;
        Ok(Pushed { diff: plan.diff, warnings: config.warnings })
    }

    /// What a push would do.
    pub fn compare(&self, config: Config) -> Result<Pushed, ControlError> {
        let plan = plan(&config, &self.snapshot())?;
        Ok(Pushed { diff: plan.diff, warnings: config.warnings })
    }
}
