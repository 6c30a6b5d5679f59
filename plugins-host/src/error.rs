//! How plugins fail to be read, to be loaded and to answer.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use bridge_core::BridgeError;
use protocol::Invalid;
use thiserror::Error;

/// Why the engine could not be made.
#[derive(Debug, Error)]
pub enum EngineError {
    /// The machine cannot run WebAssembly this way.
    #[error("cannot set up WebAssembly: {0}")]
    Settings(String),
    /// The thread that looks after time could not be started.
    #[error("cannot start the thread that interrupts plugins: {0}")]
    Ticker(#[source] io::Error),
    /// The cache's folder cannot be made or looked at.
    #[error("cannot use {} as the cache of compiled plugins: {source}", folder.display())]
    Cache {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others could write into the cache's folder.
    #[error("{} is no safe cache of compiled plugins: {problem}", folder.display())]
    UnsafeCache {
        /// The folder.
        folder: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// Why a file is no plugin that can be used.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The file is too large to be one.
    #[error("the file has {bytes} bytes, more than {limit}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// What is taken.
        limit: usize,
    },
    /// The bytes are no WebAssembly.
    #[error("not a WebAssembly component: {0}")]
    NotWasm(String),
    /// A module without the component around it.
    #[error(
        "a core module, not a component: build it for wasm32-wasip2, or wrap it with `wasm-tools component new`"
    )]
    CoreModule,
    /// It needs an interface version that this runner does not have.
    #[error("built for semilayer:bridge@{found}; this runner has {}", supported.join(", "))]
    Version {
        /// What it was built for.
        found: String,
        /// What there is.
        supported: &'static [&'static str],
    },
    /// A component for something else.
    #[error("a component that does not export semilayer:bridge/bridge")]
    NotABridge,
    /// It uses the asynchronous part of the component model.
    #[error(
        "built for component-model-async, which this runner does not run: build it without \
         (componentize-qjs: --backend-qjs-disable-async)"
    )]
    Async,
    /// It imports what a plugin does not get.
    #[error("cannot be linked: {0}")]
    Link(String),
    /// It does not compile.
    #[error("cannot be compiled: {0}")]
    Compile(String),
    /// It failed while it was asked what it is.
    #[error("cannot describe itself: {0}")]
    Describe(#[source] PluginFailure),
    /// What it says of itself makes no sense.
    #[error("describes itself wrongly: {0}")]
    Description(#[from] Invalid),
}

/// How an instance of a plugin failed. It is thrown away; neither other jobs nor other plugins notice.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PluginFailure {
    /// It trapped: a panic, an access beyond its memory, a stack that overflowed.
    #[error("the plugin failed: {trap}{}", story(said))]
    Trapped {
        /// What kind of trap, and where.
        trap: String,
        /// What it printed before; empty when that was nothing.
        said: String,
    },
    /// It needs more memory than it may have.
    #[error("the plugin needs more than its {limit} bytes of memory")]
    Memory {
        /// Bytes.
        limit: usize,
    },
    /// It computes for too long at a stretch.
    #[error("the plugin computed for more than {limit:?} without a call to the runner")]
    Computing {
        /// How long it may.
        limit: Duration,
    },
    /// One call hands over too much.
    #[error("the plugin handed over more than {limit} bytes at once")]
    Answer {
        /// Bytes.
        limit: usize,
    },
    /// It did not come to an end after its job was cancelled or late.
    #[error("the plugin did not come to an end within {grace:?} after its job was over")]
    Unresponsive {
        /// How long it had.
        grace: Duration,
    },
    /// It answered what is no answer.
    #[error("the plugin answered {0}")]
    Wrong(String),
    /// Its instance has ended.
    #[error("the plugin's instance has ended")]
    Ended,
}

impl From<PluginFailure> for BridgeError {
    fn from(failure: PluginFailure) -> Self {
        Self::Plugin(failure.to_string())
    }
}

/// Why a component's signature is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SignatureError {
    /// Neither 64 bytes nor base64 of them.
    #[error("the signature is neither 64 bytes nor base64 of 64 bytes")]
    Malformed,
    /// No trusted key has made it for these bytes.
    #[error("the signature is by none of the trusted keys, or for another file")]
    Untrusted,
}

fn story(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(" ({said})") }
}
