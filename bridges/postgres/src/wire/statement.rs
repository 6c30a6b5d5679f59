//! Prepared statements and the bounded set of them that a connection keeps.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use super::Oid;

/// SQL text that all kept statements may have together; a single longer one is still kept.
const SQL_BYTES_LIMIT: usize = 1024 * 1024;

/// A column of a result, as the server describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: Box<str>,
    pub(crate) type_oid: Oid,
}

/// A statement that the server has prepared for one connection.
#[derive(Debug)]
pub(super) struct Statement {
    /// Its name at the server, made by us.
    pub(super) name: String,
    sql: Box<str>,
    param_types: Box<[Oid]>,
    pub(super) columns: Arc<[Column]>,
}

impl Statement {
    pub(super) fn new(name: String, sql: &str, param_types: &[Oid], columns: Arc<[Column]>) -> Self {
        Self { name, sql: sql.into(), param_types: param_types.into(), columns }
    }
}

/// Statements by text and declared parameter types, least recently used out first.
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
    statement: Arc<Statement>,
}

impl StatementCache {
    pub(super) fn new(capacity: usize) -> Self {
        let capacity = capacity.max(1);
        Self { entries: Vec::new(), capacity, sql_bytes: 0, uses: 0, hasher: RandomState::new() }
    }

    pub(super) fn get(&mut self, sql: &str, param_types: &[Oid]) -> Option<Arc<Statement>> {
        let hash = self.hasher.hash_one((sql, param_types));
        let entry = self.entries.iter_mut().find(|entry| entry.is(hash, sql, param_types))?;
        self.uses += 1;
        entry.last_use = self.uses;
        Some(Arc::clone(&entry.statement))
    }

    /// Keeps `statement` and returns those that have to go, to be closed at the server.
    pub(super) fn insert(&mut self, statement: Arc<Statement>) -> Vec<Arc<Statement>> {
        let mut evicted = Vec::new();
        while self.is_full_for(&statement) {
            let Some(oldest) = self.oldest() else { break };
            evicted.push(self.remove_at(oldest));
        }
        self.uses += 1;
        self.sql_bytes += statement.sql.len();
        let hash = self.hasher.hash_one((&*statement.sql, &*statement.param_types));
        self.entries.push(Entry { hash, last_use: self.uses, statement });
        evicted
    }

    /// Forgets one statement, if it is here.
    pub(super) fn remove(&mut self, statement: &Arc<Statement>) {
        if let Some(index) = self.entries.iter().position(|entry| Arc::ptr_eq(&entry.statement, statement)) {
            self.remove_at(index);
        }
    }

    fn is_full_for(&self, statement: &Statement) -> bool {
        self.entries.len() >= self.capacity || self.sql_bytes + statement.sql.len() > SQL_BYTES_LIMIT
    }

    fn oldest(&self) -> Option<usize> {
        let oldest = self.entries.iter().enumerate().min_by_key(|(_, entry)| entry.last_use)?;
        Some(oldest.0)
    }

    fn remove_at(&mut self, index: usize) -> Arc<Statement> {
        let statement = self.entries.swap_remove(index).statement;
        self.sql_bytes -= statement.sql.len();
        statement
    }
}

impl Entry {
    fn is(&self, hash: u64, sql: &str, param_types: &[Oid]) -> bool {
        self.hash == hash && *self.statement.sql == *sql && *self.statement.param_types == *param_types
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement(sql: &str, param_types: &[Oid]) -> Arc<Statement> {
        Arc::new(Statement::new(sql.to_owned(), sql, param_types, Arc::default()))
    }

    #[test]
    fn the_same_text_with_other_parameter_types_is_another_statement() {
        let mut cache = StatementCache::new(4);
        let number = statement("select $1", &[20]);
        assert!(cache.insert(Arc::clone(&number)).is_empty());
        assert!(Arc::ptr_eq(&cache.get("select $1", &[20]).unwrap(), &number));
        assert!(cache.get("select $1", &[25]).is_none());
        assert!(cache.get("select $2", &[20]).is_none());
    }

    #[test]
    fn the_least_recently_used_statement_goes_first() {
        let mut cache = StatementCache::new(2);
        cache.insert(statement("a", &[]));
        cache.insert(statement("b", &[]));
        cache.get("a", &[]).unwrap();
        let evicted = cache.insert(statement("c", &[]));
        assert_eq!(evicted.iter().map(|old| old.name.as_str()).collect::<Vec<_>>(), ["b"]);
        assert!(cache.get("a", &[]).is_some());
    }

    #[test]
    fn long_texts_push_out_as_many_as_needed_and_are_kept_themselves() {
        let mut cache = StatementCache::new(100);
        for index in 0..10 {
            cache.insert(statement(&index.to_string(), &[]));
        }
        let long = "x".repeat(SQL_BYTES_LIMIT + 1);
        assert_eq!(cache.insert(statement(&long, &[])).len(), 10);
        assert!(cache.get(&long, &[]).is_some());
        assert_eq!(cache.insert(statement("short", &[])).len(), 1);
    }

    #[test]
    fn a_removed_statement_is_not_found_again() {
        let mut cache = StatementCache::new(2);
        let gone = statement("a", &[]);
        cache.insert(Arc::clone(&gone));
        cache.remove(&gone);
        cache.remove(&gone);
        assert!(cache.get("a", &[]).is_none());
        assert_eq!(cache.sql_bytes, 0);
    }
}
