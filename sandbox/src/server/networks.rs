//! Which networks a run may name: none, the isolated one, those that were made here, and those that the operator allows.
//!
//! Whoever else is on a network did not ask for company. A network that was made here is joined by its id from here on:
//! what its name means may change while a run waits, or while its image is pulled.

use std::collections::BTreeSet;

use axum::http::StatusCode;

use super::refusal::Refusal;
use crate::networks::ISOLATED;
use crate::{Sandbox, SandboxErrorCode};

/// In place of names: every network.
pub(crate) const ANY: &str = "*";

/// Networks that the operator allows beside those that were made here.
#[derive(Debug, Clone, Default)]
pub(crate) struct Networks(BTreeSet<String>);

impl Networks {
    /// These, or all with [`ANY`] among them.
    pub(crate) fn new(allowed: &[String]) -> Self {
        Self(allowed.iter().cloned().collect())
    }

    /// The networks that a run is to join, for names that it may join.
    pub(crate) async fn resolve(
        &self,
        sandbox: &Sandbox,
        names: Vec<String>,
    ) -> Result<Vec<String>, Refusal> {
        let mut resolved = Vec::with_capacity(names.len());
        for name in names {
            resolved.push(if self.allows(&name) { name } else { made_here(sandbox, name).await? });
        }
        Ok(resolved)
    }

    /// Whether a name is good whatever it stands for. The machine's own network is for the sandbox to refuse.
    fn allows(&self, name: &str) -> bool {
        matches!(name, "none" | "host" | ISOLATED) || self.0.contains(ANY) || self.0.contains(name)
    }
}

async fn made_here(sandbox: &Sandbox, name: String) -> Result<String, Refusal> {
    match sandbox.own_network(&name).await {
        Ok(Some(id)) => Ok(id),
        Ok(None) => {
            Err(Refusal::Coded(StatusCode::FORBIDDEN, "network_not_allowed", Some(not_allowed(&name))))
        }
        Err(error) if error.code() == SandboxErrorCode::InvalidRequest => {
            Err(Refusal::field("networks", error.message()))
        }
        Err(error) => Err(error.into()),
    }
}

fn not_allowed(name: &str) -> String {
    format!("no network {name} was made here; the server's operator allows others with --allow-network")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_good_that_lead_nowhere_else_or_are_allowed() {
        let none = Networks::default();
        assert!(none.allows("none") && none.allows(ISOLATED));
        for other in ["bridge", "default", "db", "*", "", "none ", "container:x"] {
            assert!(!none.allows(other), "{other}");
        }
        let some = Networks::new(&["db".to_owned(), "bridge".to_owned()]);
        assert!(some.allows("db") && some.allows("bridge") && !some.allows("db2"));
        assert!(Networks::new(&[ANY.to_owned()]).allows("whatever"));
    }
}
