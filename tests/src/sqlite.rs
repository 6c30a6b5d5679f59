//! SQLite files with known rows.

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::folder::Folder;

/// The people of every small example, `(id, name, city, age)`; no city of some.
pub const PEOPLE: [(i64, &str, Option<&str>, i64); 7] = [
    (1, "Ada", Some("London"), 36),
    (2, "Grace", Some("New York"), 85),
    (3, "Edsger", Some("Rotterdam"), 72),
    (4, "Barbara", None, 80),
    (5, "Alan", Some("London"), 41),
    (6, "Margaret", None, 87),
    (7, "Niklaus", Some("Zürich"), 89),
];

/// A database file in a folder of its own.
#[derive(Debug)]
pub struct Sqlite {
    folder: Folder,
    path: String,
}

impl Sqlite {
    /// An empty database in a file of this name, which may be awkward.
    pub fn named(name: &str) -> Self {
        let folder = Folder::new();
        let path = folder.file(name);
        let sqlite = Self { folder, path };
        sqlite.run("PRAGMA journal_mode = WAL;");
        sqlite
    }

    /// A database with the table `people`.
    pub fn people() -> Self {
        let sqlite = Self::named("people.db");
        sqlite.run(
            "CREATE TABLE people (id INTEGER PRIMARY KEY, full_name TEXT NOT NULL, city TEXT, age INTEGER);",
        );
        let connection = sqlite.open();
        for person in PEOPLE {
            connection.execute("INSERT INTO people VALUES (?1, ?2, ?3, ?4)", person).unwrap();
        }
        sqlite
    }

    /// A database with a table `numbers` of `count` rows: `id` from 1, `label`, and `filler` of about 100 bytes.
    pub fn numbers(count: u64) -> Self {
        let sqlite = Self::named("numbers.db");
        sqlite.run(&format!(
            "CREATE TABLE numbers (id INTEGER PRIMARY KEY, label TEXT NOT NULL, filler TEXT NOT NULL);
             WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < {count})
             INSERT INTO numbers SELECT id, 'label ' || id, printf('%.100c', 'x') FROM n;"
        ));
        sqlite
    }

    /// Runs statements.
    pub fn run(&self, sql: &str) {
        self.open().execute_batch(sql).unwrap();
    }

    /// Where the file is.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The folder of the file.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// The settings of a source that reads it.
    pub fn config(&self) -> Value {
        json!({"path": self.path})
    }

    fn open(&self) -> Connection {
        Connection::open(&self.path).unwrap()
    }
}

/// A lens over `people` with names of its own: `id name city age`.
pub fn people_lens(source: &str) -> Value {
    json!({
        "source": source,
        "table": "people",
        "fields": {
            "id": {"type": "number", "primaryKey": true},
            "name": {"type": "text", "from": "full_name"},
            "city": {"type": "text"},
            "age": {"type": "number"},
        },
        "grants": {"query": "public"},
    })
}

/// A lens over `numbers`.
pub fn numbers_lens(source: &str) -> Value {
    json!({
        "source": source,
        "table": "numbers",
        "fields": {
            "id": {"type": "number", "primaryKey": true},
            "label": {"type": "text"},
            "filler": {"type": "text"},
        },
        "grants": {"query": "public"},
    })
}

/// The rows that [`people_lens`] shows, in the order of their ids.
pub fn people_rows() -> Vec<Value> {
    let row = |(id, name, city, age)| json!({"id": id, "name": name, "city": city, "age": age});
    PEOPLE.into_iter().map(row).collect()
}
