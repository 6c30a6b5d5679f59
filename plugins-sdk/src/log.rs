//! Lines of the runner's log, under the plugin's name.
//!
//! ```
//! semilayer_plugin::info!("{} pages are cached", 3);
//! ```
//!
//! Lines above 8 KiB are cut, more than 100 a second are counted and left out. Never log a secret of the source.

use std::fmt;

use crate::host::runner;

pub use crate::bindings::semilayer::bridge::host::Level;

/// Writes a line, and takes the trouble of formatting it only where it is kept.
pub fn write(level: Level, message: fmt::Arguments<'_>) {
    if runner::log_enabled(level) {
        runner::log(level, &message.to_string());
    }
}

/// Logs what only matters to who looks for a fault of the plugin.
#[macro_export]
macro_rules! trace {
    ($($message:tt)+) => { $crate::log::write($crate::log::Level::Trace, ::core::format_args!($($message)+)) };
}

/// Logs what happens within one job.
#[macro_export]
macro_rules! debug {
    ($($message:tt)+) => { $crate::log::write($crate::log::Level::Debug, ::core::format_args!($($message)+)) };
}

/// Logs what happens in the life of a connection.
#[macro_export]
macro_rules! info {
    ($($message:tt)+) => { $crate::log::write($crate::log::Level::Info, ::core::format_args!($($message)+)) };
}

/// Logs what went wrong and was coped with.
#[macro_export]
macro_rules! warn {
    ($($message:tt)+) => { $crate::log::write($crate::log::Level::Warn, ::core::format_args!($($message)+)) };
}

/// Logs what somebody must mend.
#[macro_export]
macro_rules! error {
    ($($message:tt)+) => { $crate::log::write($crate::log::Level::Error, ::core::format_args!($($message)+)) };
}
