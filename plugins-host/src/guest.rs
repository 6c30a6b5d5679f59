//! An instance of a plugin: its store, and the calls into it.
//!
//! Calls are made one at a time, each to its end: one that is dropped half-way, or that traps, leaves an instance that
//! cannot be entered again. Whoever calls throws it away then.

use std::sync::Arc;

use protocol::Secret;
use wasmtime::component::ResourceAny;
use wasmtime::{Store, Trap, UpdateDeadline, WasmBacktrace};
use wasmtime_wasi::{I32Exit, WasiCtxBuilder};

use crate::bindings::bridge::{Description, Guest as Exports};
use crate::bindings::types::{self, Batch, ColumnInfo, Counted, Mistake, Schema, Tail};
use crate::bindings::{BridgePlugin, BridgePluginPre};
use crate::call::CallState;
use crate::error::PluginFailure;
use crate::limits::{Limits, MESSAGE_BYTES, NAME_BYTES, RANDOM_BYTES, Refused, SLACK_BYTES};
use crate::log::{Budget, GuestLog, Printed, cut, flat};
use crate::network::{Endpoint, Network, Outside};
use crate::state::State;
use crate::stats::Stats;

/// Everything that the instances of a plugin are made from.
pub(crate) struct Blueprint {
    pub(crate) component: BridgePluginPre<State>,
    pub(crate) plugin: Arc<str>,
    pub(crate) limits: Limits,
    pub(crate) outside: Arc<Outside>,
    pub(crate) log: Arc<Budget>,
    pub(crate) stats: Arc<Stats>,
}

/// What a guest answers: what it was asked for, or why not.
pub(crate) type Said<T> = Result<T, types::Error>;

/// The calls that answer with a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opening {
    Read,
    Query,
    Aggregate,
    Search,
    Similar,
}

/// An instance.
pub(crate) struct Guest {
    store: Store<State>,
    component: BridgePlugin,
    connection: Option<ResourceAny>,
    cursor: Option<ResourceAny>,
    blueprint: Arc<Blueprint>,
    /// Of its memory, what the plugin's statistics have.
    counted_memory: u64,
}

impl Guest {
    /// Makes an instance that may connect to `endpoints` beside what the operator allows. `secrets` stay out of the log.
    pub(crate) async fn start(
        blueprint: Arc<Blueprint>,
        endpoints: Vec<Endpoint>,
        secrets: Vec<Secret>,
        call: CallState,
    ) -> Result<Self, PluginFailure> {
        let log = Arc::new(GuestLog::new(Arc::clone(&blueprint.plugin), Arc::clone(&blueprint.log), secrets));
        let network = Network::new(&blueprint.outside, endpoints);
        let mut wasi = WasiCtxBuilder::new();
        wasi.stdout(Printed::new(&log)).stderr(Printed::new(&log)).max_random_size(RANDOM_BYTES);
        network.configure(&mut wasi);
        let state = State::new(call, &blueprint.limits, network, wasi.build(), log);
        let mut store = Store::new(blueprint.component.engine(), state);
        store.limiter(|state| &mut state.meter);
        store.set_hostcall_fuel(blueprint.limits.batch_bytes.saturating_add(SLACK_BYTES));
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|mut store| {
            let goes_on = store.data_mut().meter.tick();
            Ok(if goes_on { UpdateDeadline::Yield(1) } else { UpdateDeadline::Interrupt })
        });
        match blueprint.component.instantiate_async(&mut store).await {
            Ok(component) => {
                Ok(Self { store, component, connection: None, cursor: None, blueprint, counted_memory: 0 })
            }
            Err(error) => {
                let failure = failure(store.data_mut(), &blueprint, &error);
                Err(match (store.data().meter.refused(), failure) {
                    // An instance is not made whose memories begin larger than they may become.
                    (Some(Refused::Memory { .. }), PluginFailure::Wrong(_)) => {
                        PluginFailure::Memory { limit: blueprint.limits.memory_bytes }
                    }
                    (_, failure) => failure,
                })
            }
        }
    }

    pub(crate) async fn describe(&mut self) -> Result<Description, PluginFailure> {
        let answer = exports(&self.component).call_describe(&mut self.store).await;
        self.called(answer)
    }

    pub(crate) async fn check_config(&mut self, config: &str) -> Result<Vec<Mistake>, PluginFailure> {
        let answer = exports(&self.component).call_check_config(&mut self.store, config).await;
        self.called(answer)
    }

    /// Opens the connection that all later calls are about.
    pub(crate) async fn connect(&mut self, config: &str) -> Result<Said<()>, PluginFailure> {
        let answer = exports(&self.component).call_connect(&mut self.store, config).await;
        Ok(self.called(answer)?.map(|connection| self.connection = Some(connection)))
    }

    pub(crate) async fn test(&mut self) -> Result<Said<()>, PluginFailure> {
        let connection = self.connection()?;
        let calls = exports(&self.component).connection();
        let answer = calls.call_test(&mut self.store, connection).await;
        self.called(answer)
    }

    pub(crate) async fn list_targets(&mut self) -> Result<Said<Vec<String>>, PluginFailure> {
        let connection = self.connection()?;
        let calls = exports(&self.component).connection();
        let answer = calls.call_list_targets(&mut self.store, connection).await;
        self.called(answer)
    }

    pub(crate) async fn introspect(&mut self, target: &str) -> Result<Said<Schema>, PluginFailure> {
        let connection = self.connection()?;
        let calls = exports(&self.component).connection();
        let answer = calls.call_introspect_target(&mut self.store, connection, target).await;
        self.called(answer)
    }

    pub(crate) async fn count(
        &mut self,
        target: &str,
        filter: Option<&str>,
    ) -> Result<Said<Counted>, PluginFailure> {
        let connection = self.connection()?;
        let calls = exports(&self.component).connection();
        let answer = calls.call_count(&mut self.store, connection, target, filter).await;
        self.called(answer)
    }

    /// Opens a cursor in place of the one that is open, and says what its columns are.
    pub(crate) async fn open(
        &mut self,
        opening: Opening,
        target: &str,
        options: &str,
    ) -> Result<Said<Vec<ColumnInfo>>, PluginFailure> {
        self.close_cursor().await?;
        let connection = self.connection()?;
        let calls = exports(&self.component).connection();
        let store = &mut self.store;
        let answer = match opening {
            Opening::Read => calls.call_read(store, connection, target, options).await,
            Opening::Query => calls.call_query(store, connection, target, options).await,
            Opening::Aggregate => calls.call_aggregate(store, connection, target, options).await,
            Opening::Search => calls.call_search(store, connection, target, options).await,
            Opening::Similar => calls.call_similar(store, connection, target, options).await,
        };
        let cursor = match self.called(answer)? {
            Ok(cursor) => cursor,
            Err(error) => return Ok(Err(error)),
        };
        self.cursor = Some(cursor);
        let calls = exports(&self.component).cursor();
        let answer = calls.call_columns(&mut self.store, cursor).await;
        self.called(answer).map(Ok)
    }

    pub(crate) async fn next(&mut self, rows: u32, bytes: u32) -> Result<Said<Option<Batch>>, PluginFailure> {
        let cursor = self.cursor()?;
        let calls = exports(&self.component).cursor();
        let answer = calls.call_next_batch(&mut self.store, cursor, rows, bytes).await;
        self.called(answer)
    }

    /// What is known at the end of the cursor, and closes it.
    pub(crate) async fn tail(&mut self) -> Result<Tail, PluginFailure> {
        let cursor = self.cursor()?;
        let calls = exports(&self.component).cursor();
        let answer = calls.call_tail(&mut self.store, cursor).await;
        let tail = self.called(answer)?;
        self.close_cursor().await?;
        Ok(tail)
    }

    /// Ends the query that is under way, if there is one.
    pub(crate) async fn close_cursor(&mut self) -> Result<(), PluginFailure> {
        let Some(cursor) = self.cursor.take() else { return Ok(()) };
        let dropped = cursor.resource_drop_async(&mut self.store).await;
        self.called(dropped)
    }

    /// Closes the connection.
    pub(crate) async fn disconnect(&mut self) -> Result<(), PluginFailure> {
        self.close_cursor().await?;
        let Some(connection) = self.connection.take() else { return Ok(()) };
        let dropped = connection.resource_drop_async(&mut self.store).await;
        self.called(dropped)
    }

    /// The job that the next calls are for.
    pub(crate) fn works_for(&mut self, call: &CallState) {
        let state = self.store.data_mut();
        state.call = call.clone();
        state.meter.begin();
        self.store.set_epoch_deadline(1);
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    fn connection(&self) -> Result<ResourceAny, PluginFailure> {
        self.connection.ok_or(PluginFailure::Ended)
    }

    fn cursor(&self) -> Result<ResourceAny, PluginFailure> {
        self.cursor.ok_or(PluginFailure::Ended)
    }

    /// Counts a call that has come back.
    fn called<T>(&mut self, answer: wasmtime::Result<T>) -> Result<T, PluginFailure> {
        self.blueprint.stats.calls.one();
        let memory = u64::try_from(self.store.data().meter.memory()).unwrap_or(u64::MAX);
        if memory != self.counted_memory {
            self.blueprint.stats.memory_bytes.up(memory);
            self.blueprint.stats.memory_bytes.down(self.counted_memory);
            self.counted_memory = memory;
        }
        answer.map_err(|error| failure(self.store.data_mut(), &self.blueprint, &error))
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.blueprint.stats.memory_bytes.down(self.counted_memory);
    }
}

fn exports(component: &BridgePlugin) -> &Exports {
    component.semilayer_bridge_bridge()
}

/// What went wrong inside, from what the engine says and what was refused before.
fn failure(state: &mut State, blueprint: &Blueprint, error: &wasmtime::Error) -> PluginFailure {
    let limits = &blueprint.limits;
    let said = state.log.last_words();
    let story = format!("{error:#}");
    let story = flat(cut(&story, MESSAGE_BYTES));
    tracing::warn!(plugin = &*blueprint.plugin, story = &*story, said, "an instance of a plugin failed");
    match (error.downcast_ref::<Trap>(), state.meter.refused()) {
        (Some(Trap::Interrupt), _) => return PluginFailure::Computing { limit: limits.computing },
        // How a guest ends that gets no memory. Whatever else fails after that has another cause.
        (Some(Trap::UnreachableCodeReached), Some(Refused::Memory { .. })) => {
            return PluginFailure::Memory { limit: limits.memory_bytes };
        }
        (_, Some(Refused::Memory { .. } | Refused::Tables { .. } | Refused::Computing) | None) => {}
    }
    if let Some(trap) = error.downcast_ref::<Trap>() {
        return PluginFailure::Trapped { trap: trapped(*trap, error), said };
    }
    if let Some(I32Exit(status)) = error.downcast_ref::<I32Exit>() {
        return PluginFailure::Trapped { trap: format!("it exited with status {status}"), said };
    }
    let cause = error.root_cause().to_string();
    if cause.contains(FUEL_EXHAUSTED) {
        return PluginFailure::Answer { limit: limits.batch_bytes };
    }
    PluginFailure::Wrong(format!("what the interface does not allow: {}", flat(cut(&cause, MESSAGE_BYTES))))
}

/// The engine's words when a call hands over more bytes than it may; their type is not public.
const FUEL_EXHAUSTED: &str = "fuel allocated for hostcalls has been exhausted";

/// A trap, and the function in which it happened.
fn trapped(trap: Trap, error: &wasmtime::Error) -> String {
    let words = trap.to_string();
    let words = words.strip_prefix("wasm trap: ").unwrap_or(&words);
    let frames = error.downcast_ref::<WasmBacktrace>().map(WasmBacktrace::frames).unwrap_or_default();
    match frames.iter().find_map(|frame| frame.func_name()) {
        Some(function) => format!("{words} in {}", flat(cut(function, NAME_BYTES))),
        None => words.to_owned(),
    }
}
