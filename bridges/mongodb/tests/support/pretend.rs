//! A server that says what a test wants it to say, and keeps what it was told.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bridge_core::{Bridge, Driver};
use mongodb::bson::{Document, RawDocumentBuf, doc};
use semilayer_bridge_mongodb::MongoDb;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The cursor that a find leaves open.
pub(crate) const CURSOR: i64 = 4711;
/// `OP_MSG`
const MESSAGE: i32 = 2013;

/// What a server answers.
#[derive(Clone)]
pub(crate) enum Reply {
    /// A document as an answer is framed.
    Document(RawDocumentBuf),
    /// The bytes of a whole message, which the number of the request is not put into.
    Bytes(Vec<u8>),
    /// Nothing, ever.
    Silence,
    /// Nothing, and the connection is closed.
    Farewell,
}

impl From<Document> for Reply {
    fn from(document: Document) -> Self {
        Self::Document(RawDocumentBuf::try_from(&document).unwrap())
    }
}

/// The answer to a command; nothing for what is left to [`usual`].
pub(crate) type Answer = fn(&Document) -> Option<Reply>;

/// A server on a port of its own.
#[derive(Clone)]
pub(crate) struct Pretend {
    pub(crate) port: u16,
    told: Arc<Mutex<Vec<Document>>>,
    /// Commands that were not answered when their connection was closed by the client.
    given_up: Arc<Mutex<Vec<String>>>,
}

impl Pretend {
    #[expect(clippy::disallowed_methods, reason = "a test's runtime ends its tasks with the test")]
    pub(crate) async fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Self { port, told: Arc::default(), given_up: Arc::default() };
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serving.clone().serve(stream, answer));
            }
        });
        server
    }

    /// A source that reads from here.
    pub(crate) async fn source(&self) -> Box<dyn Bridge> {
        self.source_of(3).await
    }

    /// The same with so many connections.
    pub(crate) async fn source_of(&self, connections: u32) -> Box<dyn Bridge> {
        let url = format!("mongodb://127.0.0.1:{}/d?directConnection=true&retryReads=false", self.port);
        let config = serde_json::from_value(json!({ "url": url, "poolMax": connections })).unwrap();
        MongoDb.connect(&config, &bridge_core::Call::within(Duration::from_secs(10))).await.unwrap()
    }

    /// The commands of that name, so far.
    pub(crate) fn told(&self, name: &str) -> Vec<Document> {
        let told = self.told.lock().unwrap();
        told.iter().filter(|command| command.keys().next().is_some_and(|it| it == name)).cloned().collect()
    }

    /// The commands that the client did not wait for.
    pub(crate) fn given_up(&self) -> Vec<String> {
        self.given_up.lock().unwrap().clone()
    }

    async fn serve(self, mut stream: TcpStream, answer: Answer) {
        while let Some((request, command)) = read(&mut stream).await {
            self.told.lock().unwrap().push(command.clone());
            let bytes = match answer(&command).unwrap_or_else(|| usual(&command)) {
                Reply::Document(document) => message(request, document.as_bytes()),
                Reply::Bytes(bytes) => bytes,
                Reply::Farewell => return,
                Reply::Silence => {
                    let name = command.keys().next().cloned().unwrap();
                    if matches!(stream.read(&mut [0]).await, Ok(0) | Err(_)) {
                        self.given_up.lock().unwrap().push(name);
                    }
                    return;
                }
            };
            if stream.write_all(&bytes).await.is_err() {
                return;
            }
        }
    }
}

/// The number of a request and its command.
async fn read(stream: &mut TcpStream) -> Option<(i32, Document)> {
    let length = stream.read_i32_le().await.ok()?;
    let request = stream.read_i32_le().await.ok()?;
    let mut rest = vec![0; usize::try_from(length).unwrap() - 8];
    stream.read_exact(&mut rest).await.ok()?;
    // Behind the number that is answered, the operation, the flags and the kind of the section.
    let document = RawDocumentBuf::from_bytes(rest[13..].to_vec()).unwrap();
    Some((request, Document::try_from(document).unwrap()))
}

/// A message with one section.
pub(crate) fn message(request: i32, document: &[u8]) -> Vec<u8> {
    let length = i32::try_from(21 + document.len()).unwrap();
    let mut bytes = Vec::new();
    for number in [length, 1, request, MESSAGE, 0] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.push(0);
    bytes.extend(document);
    bytes
}

/// A batch of these documents, and more to come.
pub(crate) fn batch(name: &str, documents: Vec<Document>) -> Reply {
    doc! {"cursor": {"id": CURSOR, "ns": "d.c", name: documents}, "ok": 1}.into()
}

fn usual(command: &Document) -> Reply {
    match command.keys().next().map(String::as_str) {
        Some("hello" | "isMaster" | "ismaster") => doc! {
            "isWritablePrimary": true, "ismaster": true, "helloOk": true, "maxBsonObjectSize": 16_777_216,
            "maxMessageSizeBytes": 48_000_000, "maxWriteBatchSize": 100_000, "minWireVersion": 0,
            "maxWireVersion": 21, "logicalSessionTimeoutMinutes": 30, "connectionId": 1, "ok": 1,
        }
        .into(),
        Some("listCollections") => {
            let collection = doc! {"name": "c", "type": "collection", "options": {}};
            doc! {"cursor": {"id": 0_i64, "ns": "d.$cmd", "firstBatch": [collection]}, "ok": 1}.into()
        }
        Some("aggregate") => doc! {"cursor": {"id": 0_i64, "ns": "d.c", "firstBatch": []}, "ok": 1}.into(),
        Some("find") => batch("firstBatch", vec![doc! {"_id": 1}]),
        Some("getMore") => batch("nextBatch", vec![doc! {"_id": 2}]),
        _ => doc! {"ok": 1}.into(),
    }
}

/// A document within a document, and so on: bytes, because building them otherwise would take a stack as deep. Lists
/// are of type 4, documents of type 3.
pub(crate) fn nested(kind: u8, key: &str, depth: usize) -> RawDocumentBuf {
    let mut head = Vec::new();
    let mut tail = Vec::new();
    let level = 4 + 1 + key.len() + 1 + 1;
    for left in (1..=depth).rev() {
        head.extend(i32::try_from(left * level + 5).unwrap().to_le_bytes());
        head.push(kind);
        head.extend(key.as_bytes());
        head.push(0);
        tail.push(0);
    }
    head.extend([5, 0, 0, 0, 0]);
    head.extend(tail);
    RawDocumentBuf::from_bytes(head).unwrap()
}
