//! The HTTP door: runs containers for whoever has the token.
//!
//! [`Settings`] become an [`App`] that listens, and that is spawned. Between the port (`listen`) and the handlers (`api`)
//! stands the `gate`; an order for which there is `room` is checked whole (`order`, `check`, `networks`) before a place is
//! taken for it (`slots`) and it becomes a run that is followed to its end (`runs`): its lines (`book`), its `artifacts`, its record (`records`) and its
//! `callbacks`. Clients of the program whose interface this is find every route, body, answer and refusal as they know it;
//! what is ours is added beside.

mod api;
mod app;
mod artifacts;
mod body;
mod book;
mod callbacks;
mod check;
pub mod cli;
mod disk;
mod error;
mod gate;
mod listen;
mod maintenance;
mod metrics;
mod networks;
mod order;
mod records;
mod refusal;
mod room;
mod runs;
mod settings;
mod slots;
mod view;

pub use api::document;
pub use app::{App, Running};
pub use error::StartError;
pub use settings::{Loaded, ServeFlags, Settings};
