//! What becomes of a server's words, from bytes to JSON: the way of every row, without a pool. For tests and fuzzing.

#[cfg(test)]
mod tests;

use bridge_core::BridgeError;
use bridge_net::Socket;
use protocol::{Filter, Projection};

use super::Test;
use super::feed::{Collection, Elements, Feed, Members, Step};
use super::keys::Keys;
use crate::values::{Record, Renderer, Shape, View};
use crate::wire::{Connection, scripted};

/// What is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Keys that are found by a scan, with or without their values.
    Scanned {
        keys_only: bool,
    },
    /// Three keys that are known, in their order.
    Listed,
    List,
    Set,
    SortedSet,
    Hash,
    Stream,
}

/// Rows of a source.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Rows as JSON objects: for callers, for filters, and three columns of each for callers.
    pub rows: Vec<String>,
    pub values: Vec<String>,
    pub columns: Vec<String>,
    /// What filters could not read of a row.
    pub unreadable: Vec<String>,
    /// Why there are no more rows, where they did not just end: the error's own form.
    pub failure: Option<String>,
    /// Whether the connection would serve another question.
    pub is_idle: bool,
}

/// Reads all rows of a source from the server behind `socket`, each of at most `row_limit` bytes.
pub async fn tell(socket: impl Socket + 'static, source: Source, row_limit: usize) -> Told {
    let mut connection = scripted::connection(socket);
    let mut reader = Reader::new();
    let run = reader.run(&mut connection, feed(source, row_limit)).await;
    let failure = run.err().map(|failure| format!("{failure:?}"));
    Told { failure, is_idle: connection.is_idle(), ..reader.told }
}

/// Replies of at most `limit` bytes one after the other, as they print themselves, and why there are no more.
pub async fn replies(socket: impl Socket + 'static, limit: usize) -> Vec<String> {
    let mut connection = scripted::connection(socket);
    let mut all = Vec::new();
    loop {
        match connection.reply(limit).await {
            Ok(reply) => all.push(format!("{reply:?}")),
            Err(error) => {
                all.push(format!("{error:?}"));
                return all;
            }
        }
    }
}

fn feed(source: Source, row_limit: usize) -> Feed {
    let elements = |collection| Feed::Elements(Box::new(Elements::new(b"t", collection, row_limit)));
    match source {
        Source::Scanned { keys_only } => {
            let members = Members::matching(b"t:*".to_vec(), row_limit);
            Feed::Members(Box::new(if keys_only { members.keys_only() } else { members }))
        }
        Source::Listed => {
            let keys: Keys = [&b"t:1"[..], b"t:2", b"\xff"].into_iter().collect();
            Feed::Members(Box::new(Members::listed(keys, row_limit)))
        }
        Source::List => elements(Collection::List),
        Source::Set => elements(Collection::Set),
        Source::SortedSet => elements(Collection::SortedSet),
        Source::Hash => elements(Collection::Hash),
        Source::Stream => elements(Collection::Stream),
    }
}

struct Reader {
    told: Told,
    renderer: Renderer,
    picked: Shape,
    test: Test,
}

impl Reader {
    fn new() -> Self {
        let columns = ["_base64", "a", "value"].map(str::to_owned).into();
        let filter = Filter::from_json(r#"{"a":{"gt":1},"value":{"ne":"x"}}"#);
        Self {
            told: Told::default(),
            renderer: Renderer::default(),
            picked: Shape::new(&Projection::Columns(columns)),
            test: Test::new(&filter.unwrap_or_else(|_| Filter::everything()), None),
        }
    }

    async fn run(&mut self, connection: &mut Connection, mut feed: Feed) -> Result<(), BridgeError> {
        loop {
            let step = feed.step(connection, None, &mut |record| {
                self.take(record);
                Ok(())
            });
            match step? {
                Step::Rows => {}
                Step::Send => connection.flush().await.map_err(crate::error::while_running)?,
                Step::Receive => connection.fill().await.map_err(crate::error::while_running)?,
                Step::End => return Ok(()),
            }
        }
    }

    fn take(&mut self, record: &Record<'_>) {
        let row = self.rendered(record, &Shape::All, View::Rows);
        self.told.rows.push(row);
        let values = self.rendered(record, &Shape::All, View::Values);
        self.told.values.push(values);
        let picked = self.picked.clone();
        let columns = self.rendered(record, &picked, View::Rows);
        self.told.columns.push(columns);
        self.told.unreadable.extend(self.test.admits(record).err().map(|error| format!("{error:?}")));
    }

    fn rendered(&mut self, record: &Record<'_>, shape: &Shape, view: View) -> String {
        let mut row = "{".to_owned();
        self.renderer.render(record, shape, view, &mut row);
        row.push('}');
        row
    }
}
