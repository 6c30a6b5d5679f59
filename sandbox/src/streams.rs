//! What flows in and out of a container while it runs.
//!
//! Output is read whether or not anybody wants it, so that a process never blocks on it; a receiver that is there but slow
//! does hold it back. Input is written by a task of its own, and a process that does not read it is no failure.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::errors::Error as EngineError;
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use runtime::Drain;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::{Output, OutputStream};

/// The most that one piece of output has.
const PIECE: usize = 64 * 1024;
/// How long the output of a process that has ended may stand still before its rest is given up.
const STALLED: Duration = Duration::from_secs(10);
/// The same for one that was killed. The engine does not see the end of a process whose output nobody takes.
const STALLED_WHEN_KILLED: Duration = Duration::from_secs(2);

/// The tasks that carry a run's input and output. Dropping it ends them.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    output: Option<AbortOnDropHandle<()>>,
    killed: CancellationToken,
    pieces: Arc<AtomicU64>,
    _input: Option<AbortOnDropHandle<()>>,
}

impl Streams {
    /// Reads `from` into `to` until it ends.
    pub(crate) fn reading(
        drain: &Drain,
        from: impl Stream<Item = Result<LogOutput, EngineError>> + Send + Unpin + 'static,
        to: Option<mpsc::Sender<Output>>,
    ) -> Self {
        let (killed, pieces) = (CancellationToken::new(), Arc::new(AtomicU64::new(0)));
        let pump = pump(from, to, killed.clone(), Arc::clone(&pieces));
        let task = drain.spawn_companion("output of a run", pump);
        Self { output: Some(AbortOnDropHandle::new(task)), killed, pieces, _input: None }
    }

    /// Cancelled when the process is killed: from then on a receiver must keep up.
    pub(crate) fn killed(&self) -> CancellationToken {
        self.killed.clone()
    }

    /// Writes `bytes` into `to`, and closes it after them.
    pub(crate) fn writing(
        self,
        drain: &Drain,
        bytes: Bytes,
        to: impl AsyncWrite + Send + Unpin + 'static,
    ) -> Self {
        let task = drain.spawn_companion("input of a run", feed(bytes, to));
        Self { _input: Some(AbortOnDropHandle::new(task)), ..self }
    }

    /// Waits until all output of a process that has ended is delivered, unless it stands still.
    pub(crate) async fn finished(mut self) {
        let Some(mut output) = self.output.take() else { return };
        loop {
            let before = self.pieces.load(Ordering::Relaxed);
            if timeout(STALLED, &mut output).await.is_ok() {
                return;
            }
            if self.pieces.load(Ordering::Relaxed) == before {
                tracing::warn!("the rest of the output is not read by its receiver, and is given up");
                return;
            }
        }
    }
}

async fn pump(
    mut from: impl Stream<Item = Result<LogOutput, EngineError>> + Unpin,
    mut to: Option<mpsc::Sender<Output>>,
    killed: CancellationToken,
    pieces: Arc<AtomicU64>,
) {
    while let Some(piece) = from.next().await {
        let Ok(piece) = piece else { break };
        pieces.fetch_add(1, Ordering::Relaxed);
        let Some(sender) = &to else { continue };
        if !deliver(piece, sender, &killed).await {
            to = None;
        }
    }
}

/// False when nobody receives any more.
async fn deliver(piece: LogOutput, to: &mpsc::Sender<Output>, killed: &CancellationToken) -> bool {
    let (stream, mut bytes) = match piece {
        LogOutput::StdErr { message } => (OutputStream::Stderr, message),
        LogOutput::StdOut { message } | LogOutput::StdIn { message } | LogOutput::Console { message } => {
            (OutputStream::Stdout, message)
        }
    };
    while !bytes.is_empty() {
        let bytes = bytes.split_to(bytes.len().min(PIECE));
        let given_up = async {
            killed.cancelled().await;
            sleep(STALLED_WHEN_KILLED).await;
        };
        tokio::select! {
            biased;
            sent = to.send(Output { stream, bytes }) => if sent.is_err() { return false },
            () = given_up => return false,
        }
    }
    true
}

/// A process that ends without reading closes the pipe, which is its right.
async fn feed(bytes: Bytes, mut to: impl AsyncWrite + Unpin) {
    let written = async {
        to.write_all(&bytes).await?;
        to.shutdown().await
    };
    if let Err(error) = written.await {
        tracing::debug!(%error, "the process has not read all of its input");
    }
}
