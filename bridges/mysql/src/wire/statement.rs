//! Prepared statements and the bounded set of them that a connection keeps.

use std::hash::{BuildHasher, RandomState};

/// SQL text that all kept statements may have together; a single longer one is still kept.
const SQL_BYTES_LIMIT: usize = 1024 * 1024;

/// A statement that the server has prepared for one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Statement {
    pub(super) id: u32,
    /// How many parameters it has.
    pub(super) params: u16,
}

/// Statements by text, least recently used out first.
///
/// A scan over hashes, because there are few and each hit saves a round trip.
#[derive(Debug)]
pub(super) struct StatementCache {
    entries: Vec<Entry>,
    capacity: usize,
    sql_bytes: usize,
    uses: u64,
    hasher: RandomState,
}

#[derive(Debug)]
struct Entry {
    hash: u64,
    last_use: u64,
    sql: Box<str>,
    statement: Statement,
}

impl StatementCache {
    pub(super) fn new(capacity: usize) -> Self {
        let capacity = capacity.max(1);
        Self { entries: Vec::new(), capacity, sql_bytes: 0, uses: 0, hasher: RandomState::new() }
    }

    pub(super) fn get(&mut self, sql: &str) -> Option<Statement> {
        let hash = self.hasher.hash_one(sql);
        let entry = self.entries.iter_mut().find(|entry| entry.hash == hash && *entry.sql == *sql)?;
        self.uses += 1;
        entry.last_use = self.uses;
        Some(entry.statement)
    }

    /// Keeps `statement` and returns the ids of those that have to go, to be closed at the server.
    pub(super) fn insert(&mut self, sql: &str, statement: Statement) -> Vec<u32> {
        let mut evicted = Vec::new();
        while self.entries.len() >= self.capacity || self.sql_bytes + sql.len() > SQL_BYTES_LIMIT {
            let oldest = self.entries.iter().enumerate().min_by_key(|(_, entry)| entry.last_use);
            let Some((oldest, _)) = oldest else { break };
            evicted.push(self.remove_at(oldest));
        }
        self.uses += 1;
        self.sql_bytes += sql.len();
        let hash = self.hasher.hash_one(sql);
        self.entries.push(Entry { hash, last_use: self.uses, sql: sql.into(), statement });
        evicted
    }

    /// Forgets one statement, if it is here.
    pub(super) fn remove(&mut self, statement: Statement) {
        if let Some(index) = self.entries.iter().position(|entry| entry.statement == statement) {
            self.remove_at(index);
        }
    }

    fn remove_at(&mut self, index: usize) -> u32 {
        let entry = self.entries.swap_remove(index);
        self.sql_bytes -= entry.sql.len();
        entry.statement.id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement(id: u32) -> Statement {
        Statement { id, params: 0 }
    }

    #[test]
    fn the_least_recently_used_statement_goes_first() {
        let mut cache = StatementCache::new(2);
        assert!(cache.insert("a", statement(1)).is_empty());
        assert!(cache.insert("b", statement(2)).is_empty());
        assert_eq!(cache.get("a"), Some(statement(1)));
        assert_eq!(cache.insert("c", statement(3)), [2]);
        assert_eq!(cache.get("b"), None);
    }

    #[test]
    fn long_statements_leave_no_room_for_others() {
        let mut cache = StatementCache::new(10);
        (0..10).for_each(|id| drop(cache.insert(&id.to_string(), statement(id))));
        assert_eq!(cache.insert(&"x".repeat(SQL_BYTES_LIMIT + 1), statement(11)).len(), 10);
        assert_eq!(cache.insert("short", statement(12)), [11]);
        cache.remove(statement(12));
        assert_eq!((cache.get("short"), cache.sql_bytes), (None, 0));
    }
}
