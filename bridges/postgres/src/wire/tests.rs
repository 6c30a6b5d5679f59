//! The client against scripted peers, which may say anything, and against real servers.

mod hostile;
mod login;
mod scripted;
mod server;
mod statements;
mod streaming;
#[path = "../../tests/support/server.rs"]
mod support;
