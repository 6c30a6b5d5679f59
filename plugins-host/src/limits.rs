//! How much a plugin may use: the one place with numbers.
//!
//! [`Limits`] are those that an operator can set for a plugin; the constants hold for all of them. [`Meter`] keeps one
//! instance within them and remembers what was refused, so that a failure can name its cause.

use std::time::Duration;

use wasmtime::ResourceLimiter;

/// Time between two looks at a guest that computes. It gives way to other work as often.
pub(crate) const TICK: Duration = Duration::from_millis(10);
/// Native stack of a guest. Deeper recursion is a trap.
pub(crate) const STACK_BYTES: usize = 512 << 10;
/// What a guest's fiber has in all: its stack, and that of the host functions that it calls.
pub(crate) const FIBER_BYTES: usize = 1 << 20;
/// Frames of a trap's backtrace.
pub(crate) const BACKTRACE_FRAMES: usize = 32;

/// A component's file.
pub(crate) const COMPONENT_BYTES: usize = 128 << 20;
/// How long `describe` may take, with the start of its instance. Interpreted languages start slowly.
pub(crate) const DESCRIBE_TIME: Duration = Duration::from_secs(10);
/// Bytes that one call's arguments or results may have beyond a batch: lists of names, options, messages.
pub(crate) const SLACK_BYTES: usize = 1 << 20;
/// Settings that a manifest may have.
pub(crate) const MANIFEST_FIELDS: usize = 100;
/// Bytes of a text in a description.
pub(crate) const DESCRIPTION_TEXT: usize = 1_000;
/// Bytes of a package name.
pub(crate) const PACKAGE_NAME: usize = 128;
/// Mistakes of a configuration that are told.
pub(crate) const MISTAKES: usize = 100;
/// Bytes of a message that a plugin gives with an error.
pub(crate) const MESSAGE_BYTES: usize = 4_096;
/// Bytes of a database's code, or of a field's name, in an error.
pub(crate) const CODE_BYTES: usize = 256;
/// Bytes of a trap's story: the innermost frames, and what a panic has printed.
pub(crate) const STORY_BYTES: usize = 1_024;
/// Targets of a source.
pub(crate) const TARGETS: usize = 100_000;
/// Columns of a target or of a cursor.
pub(crate) const COLUMNS: usize = 2_000;
/// Bytes of the name of a target, a column or a type.
pub(crate) const NAME_BYTES: usize = 1_024;
/// Bytes of a cursor that callers hand back.
pub(crate) const CURSOR_BYTES: usize = 64 << 10;

/// Rows that a batch is asked for.
pub(crate) const BATCH_ROWS: u32 = 1_000;
/// Bytes that a batch is asked for at the most.
pub(crate) const BATCH_WISH: usize = protocol::CHUNK_BYTES;
/// Rows that a batch may have however small they are.
pub(crate) const MOST_BATCH_ROWS: u32 = 100_000;

/// Host resources that an instance may hold: streams, pollables, sockets, answers.
pub(crate) const RESOURCES: usize = 1_000;
/// What an instance may hold of the answers to its requests, heads and bodies together, for each socket that it may have:
/// an answer that has arrived takes up no socket any more.
pub(crate) const HELD_BYTES: usize = 256 << 10;
/// Bytes of the headers that a guest of `wasi:http` puts together for a request, about.
pub(crate) const FIELDS_BYTES: usize = 16 << 10;
/// Bytes of a body of such a request that wait to be sent.
pub(crate) const SENT_AT_ONCE: usize = 16 << 10;
/// Random bytes that a guest gets at once.
pub(crate) const RANDOM_BYTES: u64 = 64 << 10;
/// Core instances, tables and memories of one component. A Python component needs about 40, 40 and 10.
pub(crate) const CORE_INSTANCES: usize = 64;
pub(crate) const TABLES: usize = 64;
pub(crate) const MEMORIES: usize = 16;
/// Elements of all tables of an instance.
pub(crate) const TABLE_ELEMENTS: usize = 50_000;

/// Lines that a plugin may write into the log in a second, however many instances it has.
pub(crate) const LOG_LINES: u32 = 100;
/// Bytes of such a line.
pub(crate) const LOG_LINE_BYTES: usize = 8 << 10;

/// Instances of a source when its configuration does not say: `poolMax`.
pub(crate) const POOL_MAX: usize = 4;
/// How long an instance may be idle before its connection is closed.
pub(crate) const IDLE: Duration = Duration::from_secs(60);

/// What an operator can set for a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory of an instance in bytes, all its memories together: 256 MiB. 64 MiB suits plugins in Rust.
    pub memory_bytes: usize,
    /// Instances at once, over all sources: 64. A job waits for one until its deadline.
    pub instances: usize,
    /// A batch of rows as the plugin hands it over, in bytes: 16 MiB.
    pub batch_bytes: usize,
    /// Open sockets of an instance: 32.
    pub sockets: usize,
    /// Computing without a call to the host, after which an instance is stopped: 5 seconds.
    pub computing: Duration,
    /// What a guest has to come to an end after its job was cancelled or late, before it is stopped: 2 seconds.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 256 << 20,
            instances: 64,
            batch_bytes: 16 << 20,
            sockets: 32,
            computing: Duration::from_secs(5),
            grace: Duration::from_secs(2),
        }
    }
}

/// Keeps one instance within its limits.
#[derive(Debug)]
pub(crate) struct Meter {
    memory_limit: usize,
    memory: usize,
    /// What the growth under way would add, to be taken back when it fails.
    growing: usize,
    table_elements: usize,
    ticks_limit: u32,
    ticks: u32,
    refused: Option<Refused>,
}

/// What an instance asked for and did not get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// So many bytes of memory in all.
    Memory { wanted: usize },
    /// So many elements of tables in all.
    Tables { wanted: usize },
    /// More time to compute.
    Computing,
}

impl Meter {
    pub(crate) fn new(limits: &Limits) -> Self {
        let ticks = limits.computing.as_millis() / TICK.as_millis();
        Self {
            memory_limit: limits.memory_bytes,
            memory: 0,
            growing: 0,
            table_elements: 0,
            ticks_limit: u32::try_from(ticks).unwrap_or(u32::MAX),
            ticks: 0,
            refused: None,
        }
    }

    /// The guest is about to be called.
    pub(crate) fn begin(&mut self) {
        self.ticks = 0;
        self.refused = None;
    }

    /// The guest has called the host.
    #[inline]
    pub(crate) fn host_called(&mut self) {
        self.ticks = 0;
    }

    /// Another tick of computing. False: that was the last one.
    pub(crate) fn tick(&mut self) -> bool {
        self.ticks = self.ticks.saturating_add(1);
        let goes_on = self.ticks <= self.ticks_limit;
        if !goes_on {
            self.refused = Some(Refused::Computing);
        }
        goes_on
    }

    /// Linear memory now, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.memory
    }

    /// What was refused last, if anything.
    pub(crate) fn refused(&self) -> Option<Refused> {
        self.refused
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current);
        let wanted = self.memory.saturating_add(more);
        if wanted > self.memory_limit {
            self.refused = Some(Refused::Memory { wanted });
            return Ok(false);
        }
        self.memory = wanted;
        self.growing = more;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.memory = self.memory.saturating_sub(self.growing);
        self.growing = 0;
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let wanted = self.table_elements.saturating_add(desired.saturating_sub(current));
        if wanted > TABLE_ELEMENTS {
            self.refused = Some(Refused::Tables { wanted });
            return Ok(false);
        }
        self.table_elements = wanted;
        Ok(true)
    }

    fn instances(&self) -> usize {
        CORE_INSTANCES
    }

    fn tables(&self) -> usize {
        TABLES
    }

    fn memories(&self) -> usize {
        MEMORIES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_are_counted_together() {
        let mut meter = Meter::new(&Limits { memory_bytes: 100, ..Limits::default() });
        assert!(meter.memory_growing(0, 60, None).unwrap());
        assert!(meter.memory_growing(0, 40, None).unwrap());
        assert!(!meter.memory_growing(40, 41, None).unwrap());
        assert_eq!((meter.memory(), meter.refused()), (100, Some(Refused::Memory { wanted: 101 })));
    }

    #[test]
    fn memory_that_could_not_be_had_is_not_counted() {
        let mut meter = Meter::new(&Limits { memory_bytes: 100, ..Limits::default() });
        assert!(meter.memory_growing(0, 60, None).unwrap());
        meter.memory_grow_failed(wasmtime::Error::msg("no room")).unwrap();
        assert_eq!(meter.memory(), 0);
    }

    #[test]
    fn computing_ends_unless_the_host_is_called() {
        let mut meter = Meter::new(&Limits { computing: 3 * TICK, ..Limits::default() });
        assert!((0..3).all(|_| meter.tick()));
        meter.host_called();
        assert!((0..3).all(|_| meter.tick()));
        assert!(!meter.tick());
        assert_eq!(meter.refused(), Some(Refused::Computing));
    }
}
