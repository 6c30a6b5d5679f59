//! Pushed configs: `{stack?, sources?, lenses?, auth?}` in JSON, YAML or TOML.
//!
//! A config goes three steps, each a plain function: [`parse`] makes a [`Node`] of the text, [`check()`] makes a [`Config`]
//! of that or names every mistake with its path, and [`plan()`] compares the config with what is in place and says what to
//! change. Nothing is changed by any of them.

mod check;
mod diff;
mod document;
mod node;
mod plan;

pub use check::{Config, ConfigWarning, DeclaredLens, DeclaredSource, check};
pub use diff::{ChangeKind, Diff, DiffEntry};
pub use document::{Format, parse};
pub use node::Node;
pub use plan::{Plan, plan, unknown_sources};
pub(crate) use plan::{changed_settings, source_differences};

use crate::lens::Lens;
use crate::model::SourceId;

/// The lens that the store keeps as `declared`. `None` when it is not one that [`check()`] lets pass.
pub fn stored_lens(name: &str, source: SourceId, declared: Node) -> Option<Lens> {
    check::lens(name, declared).map(|lens| lens.into_lens(source))
}
