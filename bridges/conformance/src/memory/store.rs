use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::seed::{Decimals, Seed, Table, Value};

/// The databases.
#[derive(Debug, Default)]
pub(crate) struct Store {
    databases: Mutex<HashMap<&'static str, Arc<Vec<Stored>>>>,
    slow: AtomicUsize,
}

/// A table with its rows, also as JSON.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) table: Table,
    pub(super) rows: Vec<Vec<Value>>,
    pub(super) json: Vec<String>,
}

/// Counts a slow query while it lives.
pub(super) struct SlowGuard(Arc<Store>);

impl Store {
    pub(super) fn create(&self, name: &'static str, seed: &Seed) {
        let stored = |table: &Table| {
            let rows: Vec<_> = table.rows().collect();
            let json = rows.iter().map(|row| table.row_json(row, Decimals::Exact)).collect();
            Stored { table: table.clone(), rows, json }
        };
        let tables = Arc::new(seed.tables.iter().map(stored).collect());
        self.databases.lock().unwrap_or_else(PoisonError::into_inner).insert(name, tables);
    }

    pub(super) fn open(&self, name: &str) -> Option<Arc<Vec<Stored>>> {
        self.databases.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    pub(super) fn slow_queries(&self) -> usize {
        self.slow.load(Ordering::SeqCst)
    }

    pub(super) fn begin_slow(self: &Arc<Self>) -> SlowGuard {
        self.slow.fetch_add(1, Ordering::SeqCst);
        SlowGuard(Arc::clone(self))
    }
}

impl Drop for SlowGuard {
    fn drop(&mut self) {
        self.0.slow.fetch_sub(1, Ordering::SeqCst);
    }
}
