//! The SQLite bridge.
