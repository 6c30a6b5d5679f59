//! Runs operations: batches of raw documents, as fast as they are pulled.
//!
//! A task of its own owns the operation's session and cursor and hands its batches over one by one, so the next batch is
//! on its way while one is being written, and no more. It notices by itself when nobody waits any longer, the deadline
//! passes or the source closes, and then ends the operation at the server.

mod documents;
mod reduced;
mod rows;
mod search;

use bridge_core::{BridgeError, Call};
use futures::StreamExt;
use mongodb::ClientSession;
use mongodb::bson::{Document, RawDocument, RawDocumentBuf, doc};
use mongodb::options::{AggregateOptions, FindOptions};
use mongodb::raw_batch_cursor::{RawBatch, SessionRawBatchCursor};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::connect::{Pool, unless_closed, within};
use crate::error::{closed, is_network, of_driver};
use crate::translate::Find;

use documents::Documents;
pub(crate) use reduced::{Joined, of_nothing, reduce};
pub(crate) use rows::{MongoRows, Shape, Total, buckets};
pub(crate) use search::search;

/// Documents of one batch. The server sends fewer where they are large, and never more than 16 MiB.
const BATCH: u32 = 2_000;
/// Bytes of the documents of an operation that answers few.
const FEW: usize = 64 * 1024 * 1024;

/// Something that answers documents.
#[derive(Debug, Clone)]
pub(crate) enum Operation {
    Find {
        collection: String,
        filter: Document,
        options: Box<FindOptions>,
    },
    Aggregate {
        collection: String,
        pipeline: Vec<Document>,
    },
    /// What the database says of its collections.
    Collections {
        filter: Document,
    },
    /// The names of those that the user may see, which less than the right to list them is enough for.
    Names {
        filter: Document,
    },
    /// The indexes of a collection.
    Indexes {
        collection: String,
    },
}

impl Operation {
    /// Counts documents.
    pub(crate) fn count(collection: &str, filter: Document) -> Self {
        let pipeline = vec![doc! {"$match": filter}, doc! {"$group": {"_id": null, "n": {"$sum": 1}}}];
        Self::Aggregate { collection: collection.to_owned(), pipeline }
    }
}

impl Find {
    /// The operation on a collection.
    pub(crate) fn into_operation(self, collection: &str) -> Operation {
        let options = FindOptions::builder()
            .sort((!self.sort.is_empty()).then_some(self.sort))
            .projection(self.projection)
            .skip((self.skip > 0).then_some(self.skip))
            .limit(self.limit.map(|limit| i64::try_from(limit).unwrap_or(i64::MAX)))
            .build();
        Operation::Find { collection: collection.to_owned(), filter: self.filter, options: Box::new(options) }
    }
}

/// What a task hands over.
enum Message {
    Batch(RawBatch),
    Failed(BridgeError),
    Done,
}

/// Batches of an operation that is under way. Dropping it ends the operation at the server.
pub(crate) struct Batches {
    pool: Pool,
    call: Call,
    messages: mpsc::Receiver<Message>,
}

/// Starts an operation.
pub(crate) fn start(pool: &Pool, call: &Call, operation: Operation) -> Batches {
    // The next batch is fetched while one is being written, and the one behind it is not.
    let (out, messages) = mpsc::channel(1);
    pool.spawn(work(pool.clone(), *call, operation, out));
    Batches { pool: pool.clone(), call: *call, messages }
}

/// Runs an operation and hands each of its documents to `each`.
pub(crate) async fn each(
    pool: &Pool,
    call: &Call,
    operation: Operation,
    mut each: impl FnMut(&RawDocument) -> Result<(), BridgeError>,
) -> Result<(), BridgeError> {
    let mut batches = start(pool, call, operation);
    while let Some(batch) = batches.next().await? {
        let mut documents = Documents::of(&batch, 0)?;
        while let Some(document) = documents.next()? {
            each(document)?;
        }
    }
    Ok(())
}

/// All documents of an operation that answers few.
pub(crate) async fn all(
    pool: &Pool,
    call: &Call,
    operation: Operation,
) -> Result<Vec<RawDocumentBuf>, BridgeError> {
    let mut found = Vec::new();
    let mut room = FEW;
    each(pool, call, operation, |document| {
        let left = room.checked_sub(document.as_bytes().len());
        room = left.ok_or_else(|| BridgeError::query(format!("the answer has more than {FEW} bytes")))?;
        found.push(document.to_owned());
        Ok(())
    })
    .await?;
    Ok(found)
}

/// How many documents match.
pub(crate) async fn count(
    pool: &Pool,
    call: &Call,
    collection: &str,
    filter: Document,
) -> Result<u64, BridgeError> {
    let found = all(pool, call, Operation::count(collection, filter)).await?;
    let number = found.first().and_then(|document| match document.get("n").ok()?? {
        mongodb::bson::RawBsonRef::Int32(number) => u64::try_from(number).ok(),
        mongodb::bson::RawBsonRef::Int64(number) => u64::try_from(number).ok(),
        _ => None,
    });
    // Nothing that matches is no group.
    Ok(number.unwrap_or(0))
}

/// Proves that the server answers, over a new connection where an old one has died.
pub(crate) async fn ping(pool: &Pool, call: &Call) -> Result<(), BridgeError> {
    let ask = || pool.database().run_command(doc! {"ping": 1});
    let asked = tokio::select! {
        biased;
        () = pool.closing() => return Err(closed()),
        asked = within(call, async {
            let _turn = pool.turn().await?;
            let asked = match ask().await {
                Err(error) if is_network(&error) => ask().await,
                decided => decided,
            };
            asked.map_err(of_driver)
        }) => asked?,
    };
    asked.map(drop).map_err(|error| unless_closed(pool, error))
}

impl Batches {
    /// The next batch, which may be empty; nothing after the last.
    pub(crate) async fn next(&mut self) -> Result<Option<RawBatch>, BridgeError> {
        let deadline = Instant::from_std(self.call.deadline);
        match timeout_at(deadline, self.messages.recv()).await {
            Ok(Some(Message::Batch(batch))) => Ok(Some(batch)),
            Ok(Some(Message::Failed(error))) => Err(unless_closed(&self.pool, error)),
            Ok(Some(Message::Done)) => Ok(None),
            // The task ends without a word when it is interrupted.
            Ok(None) if self.pool.is_closed() => Err(closed()),
            Ok(None) if Instant::now() < deadline => {
                Err(BridgeError::Internal("an operation ended without an answer".to_owned()))
            }
            Ok(None) | Err(_) => Err(BridgeError::Timeout),
        }
    }
}

async fn work(pool: Pool, call: Call, operation: Operation, out: mpsc::Sender<Message>) {
    if let Some(session) = operate(&pool, &call, operation, &out).await {
        // Whoever waits knows at once; what follows is between the server and us.
        drop(out);
        pool.kill(session).await;
    }
}

/// Gives back the session of an operation that was interrupted.
async fn operate(
    pool: &Pool,
    call: &Call,
    operation: Operation,
    out: &mpsc::Sender<Message>,
) -> Option<ClientSession> {
    let interrupted = async {
        tokio::select! {
            () = out.closed() => {}
            () = pool.closing() => {}
            () = sleep_until(Instant::from_std(call.deadline)) => {}
        }
    };
    tokio::pin!(interrupted);
    let session = tokio::select! {
        biased;
        () = &mut interrupted => return None,
        session = pool.session() => session,
    };
    let mut session = match session {
        Ok(session) => session,
        Err(error) => {
            say(call, out, Message::Failed(error)).await;
            return None;
        }
    };
    let ended = tokio::select! {
        biased;
        () = &mut interrupted => None,
        ended = run(pool, call, operation, &mut session, out) => Some(ended),
    };
    match ended {
        Some(Ok(())) => say(call, out, Message::Done).await,
        Some(Err(error)) => say(call, out, Message::Failed(error)).await,
        None => return Some(session),
    }
    None
}

async fn say(call: &Call, out: &mpsc::Sender<Message>, message: Message) {
    // Nobody listens, or not in time: then nobody asks what became of it.
    let _unheard = timeout_at(Instant::from_std(call.deadline), out.send(message)).await;
}

async fn run(
    pool: &Pool,
    call: &Call,
    operation: Operation,
    session: &mut ClientSession,
    out: &mpsc::Sender<Message>,
) -> Result<(), BridgeError> {
    let turn = pool.turn().await?;
    let mut cursor = open(pool, call, operation, session).await.map_err(of_driver)?;
    drop(turn);
    let mut batches = cursor.stream(session);
    // There is room for a batch before it is asked for.
    while let Ok(room) = out.reserve().await {
        let _turn = pool.turn().await?;
        match batches.next().await {
            Some(batch) => room.send(Message::Batch(batch.map_err(of_driver)?)),
            None => break,
        }
    }
    Ok(())
}

async fn open(
    pool: &Pool,
    call: &Call,
    operation: Operation,
    session: &mut ClientSession,
) -> mongodb::error::Result<SessionRawBatchCursor> {
    let database = pool.database();
    // The server's own limit, so that the operation ends there even when nobody is left to end it.
    let limit = call.remaining().max(std::time::Duration::from_millis(1));
    match operation {
        Operation::Find { collection, filter, mut options } => {
            options.max_time = Some(limit);
            options.batch_size = Some(BATCH);
            options.allow_disk_use = Some(true);
            let collection = database.collection::<RawDocumentBuf>(&collection);
            collection.find(filter).with_options(*options).session(session).batch().await
        }
        Operation::Aggregate { collection, pipeline } => {
            let options =
                AggregateOptions::builder().max_time(limit).batch_size(BATCH).allow_disk_use(true).build();
            let collection = database.collection::<RawDocumentBuf>(&collection);
            collection.aggregate(pipeline).with_options(options).session(session).batch().await
        }
        Operation::Collections { filter } => {
            database.list_collections().filter(filter).session(session).batch().await
        }
        Operation::Names { filter } => {
            let command = doc! {
                "listCollections": 1, "nameOnly": true, "authorizedCollections": true, "filter": filter,
            };
            database.run_cursor_command(command).session(session).batch().await
        }
        Operation::Indexes { collection } => {
            let collection = database.collection::<RawDocumentBuf>(&collection);
            collection.list_indexes().session(session).batch().await
        }
    }
}
