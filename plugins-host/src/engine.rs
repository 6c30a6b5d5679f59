//! The compiler and the clock that all plugins share.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use bridge_net::{Pem, Roots};
use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::{Config, EngineWeak, OptLevel};

use crate::about::About;
use crate::bindings::{BridgePluginPre, host};
use crate::cache::{Cache, Place};
use crate::error::{EngineError, LoadError};
use crate::inspect::{Inspection, inspect, is_async};
use crate::limits::{BACKTRACE_FRAMES, FIBER_BYTES, STACK_BYTES, TICK};
use crate::network;
use crate::plugin::{Grants, Plugin};
use crate::state::State;

/// What an engine needs to know.
#[derive(Debug, Clone, Default)]
pub struct EngineSettings {
    /// The folder that keeps compiled plugins, made when it is not there. It and all in it must be ours alone, because
    /// what is in it is run as it is. Without it, each load compiles.
    pub cache: Option<PathBuf>,
}

/// Compiles plugins and interrupts them. Clones are the same engine.
#[derive(Clone)]
pub struct Engine {
    wasm: wasmtime::Engine,
    linker: Arc<Linker<State>>,
    cache: Option<Arc<Cache>>,
    roots: Roots,
}

impl Engine {
    /// Starts the engine, with the thread that lets time pass for its plugins. The thread ends with the engine.
    ///
    /// # Errors
    /// A machine that does not run WebAssembly, and a cache that others could write to.
    pub fn new(settings: EngineSettings) -> Result<Self, EngineError> {
        let unsupported = |error: wasmtime::Error| EngineError::Settings(format!("{error:#}"));
        let wasm = wasmtime::Engine::new(&config()).map_err(unsupported)?;
        let linker = Arc::new(linker(&wasm).map_err(unsupported)?);
        let cache = settings.cache.map(|folder| Cache::open(folder, &wasm)).transpose()?;
        start_ticking(wasm.weak())?;
        Ok(Self { wasm, linker, cache: cache.map(Arc::new), roots: Roots::System })
    }

    /// The same engine, whose plugins trust the certificates in this PEM file as well as the system's, where they bring
    /// none of their own. The file is read when the first of them encrypts.
    #[must_use]
    pub fn trusting(self, ca_file: PathBuf) -> Self {
        Self { roots: Roots::SystemAnd(Pem::File(ca_file)), ..self }
    }

    /// Compiles a component and asks it what it is, or takes both from the cache. `grants` says what a plugin of that name
    /// may do; until then it may do nothing.
    ///
    /// # Errors
    /// Whatever is wrong with the component, in words for whoever made it.
    pub async fn load(
        &self,
        component: Vec<u8>,
        grants: impl FnOnce(&str) -> Grants + Send,
    ) -> Result<Arc<Plugin>, LoadError> {
        let this = self.clone();
        let prepared = tokio::task::spawn_blocking(move || this.prepare(&component)).await;
        let mut prepared = prepared.map_err(|ended| LoadError::Compile(ended.to_string()))??;
        let Some(about) = prepared.about.take() else { return self.load_unknown(prepared, grants).await };
        Plugin::new(prepared, about.into_description(), grants).map(Arc::new)
    }

    /// Asks a component what it is, and keeps its answer when it makes sense.
    async fn load_unknown(
        &self,
        mut prepared: Prepared,
        grants: impl FnOnce(&str) -> Grants + Send,
    ) -> Result<Arc<Plugin>, LoadError> {
        let description = prepared.describe().await?;
        let (place, about) = (prepared.place.take(), About::new(prepared.hash.clone(), &description));
        let plugin = Plugin::new(prepared, description, grants)?;
        if let (Some(cache), Some(place)) = (self.cache.clone(), place) {
            let _either_way = tokio::task::spawn_blocking(move || cache.remember(&place, &about)).await;
        }
        Ok(Arc::new(plugin))
    }

    fn prepare(&self, component: &[u8]) -> Result<Prepared, LoadError> {
        let inspection = inspect(component)?;
        let (compiled, place, about) = match &self.cache {
            Some(cache) => {
                let place = cache.place(component);
                let compiled = cache.component(&self.wasm, component, &place)?;
                let about = cache.about(&place);
                (compiled, Some(place), about)
            }
            None => (compile(&self.wasm, component)?, None, None),
        };
        let hash = about.as_ref().map_or_else(|| sha256(component), |about| about.hash.clone());
        let link = |error: wasmtime::Error| LoadError::Link(format!("{error:#}"));
        let linked = self.linker.instantiate_pre(&compiled).map_err(link)?;
        let guest = BridgePluginPre::new(linked).map_err(link)?;
        Ok(Prepared { guest, hash, inspection, roots: self.roots.clone(), place, about })
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("cache", &self.cache).finish_non_exhaustive()
    }
}

/// A component that is ready to be instantiated.
pub(crate) struct Prepared {
    pub(crate) guest: BridgePluginPre<State>,
    /// SHA-256 of the file, in hex.
    pub(crate) hash: String,
    pub(crate) inspection: Inspection,
    /// Whom the plugin trusts if it does not say.
    pub(crate) roots: Roots,
    /// Where the cache has it.
    place: Option<Place>,
    /// What the cache knows of it.
    about: Option<About>,
}

/// Compiles without a cache.
pub(crate) fn compile(engine: &wasmtime::Engine, component: &[u8]) -> Result<Component, LoadError> {
    Component::from_binary(engine, component).map_err(|error| match is_async(component) {
        true => LoadError::Async,
        false => LoadError::Compile(format!("{error:#}")),
    })
}

/// Epochs and no fuel: they cost a third as much. No concurrency: interfaces of WASI 0.2 have none, and calls take a
/// quarter of the time without. Instances are allocated as they come, because they live as long as a connection. No tables
/// for other programs' unwinders: backtraces of traps do without, and a component loads faster.
pub(crate) fn config() -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .wasm_memory64(false)
        .epoch_interruption(true)
        .consume_fuel(false)
        .concurrency_support(false)
        .max_wasm_stack(STACK_BYTES)
        .async_stack_size(FIBER_BYTES)
        .cranelift_opt_level(OptLevel::Speed)
        .native_unwind_info(false)
        .wasm_backtrace_max_frames(NonZeroUsize::new(BACKTRACE_FRAMES))
        .memory_init_cow(true);
    config
}

fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    host::add_to_linker::<State, HasSelf<State>>(&mut linker, State::called)?;
    network::add_to_linker(&mut linker)?;
    Ok(linker)
}

fn start_ticking(engine: EngineWeak) -> Result<(), EngineError> {
    let tick = move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            thread::sleep(TICK);
        }
    };
    thread::Builder::new().name("plugin-ticker".to_owned()).spawn(tick).map_err(EngineError::Ticker)?;
    Ok(())
}

/// SHA-256 in hex.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write;

    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    let mut hex = String::with_capacity(64);
    for byte in digest.as_ref() {
        // Writing into a String does not fail.
        let _infallible = write!(hex, "{byte:02x}");
    }
    hex
}
