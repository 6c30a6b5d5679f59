//! What flows in and out of a container while it runs.
//!
//! Output is read whether or not anybody wants it, so that a process never blocks on it; a receiver that is there but slow
//! does hold it back. Input is written by a task of its own, and a process that does not read it is no failure.
//!
//! Of a detached run the engine keeps a log, which is followed, so that the process never waits for us. What that leaves out
//! is read from the log when the process has ended: the stream may have been broken off, and engines before 23.0 (API 1.42)
//! end a followed log as soon as the process ends, with as much of it as was read until then.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::errors::Error as EngineError;
use bollard::query_parameters::LogsOptionsBuilder;
use bytes::{Buf as _, Bytes};
use futures::{Stream, StreamExt as _};
use runtime::Drain;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::engine::{self, Engine};
use crate::{Output, OutputStream};

/// The most that one piece of output has.
const PIECE: usize = 64 * 1024;
/// How long the output of a process that has ended may stand still before its rest is given up.
const STALLED: Duration = Duration::from_secs(10);
/// The same for one that was killed. The engine does not see the end of a process whose output nobody takes.
const STALLED_WHEN_KILLED: Duration = Duration::from_secs(2);
/// How long before the engine tells the end of a process its output may end.
const BROKEN_OFF: Duration = Duration::from_secs(10);

/// The tasks that carry a run's input and output. Dropping it ends them.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    output: Option<AbortOnDropHandle<()>>,
    killed: CancellationToken,
    ended: CancellationToken,
    pieces: Arc<AtomicU64>,
    _input: Option<AbortOnDropHandle<()>>,
}

impl Streams {
    /// Reads `from` into `to` until it ends.
    pub(crate) fn reading(drain: &Drain, from: impl Pieces, to: Option<mpsc::Sender<Output>>) -> Self {
        Self::pumping(drain, to, |mut pump, ended| async move {
            let whole = pump.carry(from).await;
            // An end that comes long before that of the process is none of its own: its init keeps both outputs open.
            if whole && timeout(BROKEN_OFF, ended.cancelled()).await.is_err() {
                tracing::warn!("the output of a run has ended before its process");
            }
        })
    }

    /// Follows the log of a detached run, and reads after the end of its process what that has left out.
    pub(crate) fn following(drain: &Drain, log: Log, to: mpsc::Sender<Output>) -> Self {
        Self::pumping(drain, Some(to), |mut pump, ended| async move {
            let whole = pump.carry(log.read(true)).await;
            if !(whole && log.is_followed_to_its_end) {
                ended.cancelled().await;
                pump.rest_of(log.read(false)).await;
            }
        })
    }

    /// Reads what there is of the log of a process that has ended.
    pub(crate) fn reading_log(drain: &Drain, log: &Log, to: mpsc::Sender<Output>) -> Self {
        Self::reading(drain, log.read(false), Some(to))
    }

    fn pumping<F: Future<Output = ()> + Send + 'static>(
        drain: &Drain,
        to: Option<mpsc::Sender<Output>>,
        carry: impl FnOnce(Pump, CancellationToken) -> F,
    ) -> Self {
        let streams = Self::default();
        let (killed, pieces) = (streams.killed.clone(), Arc::clone(&streams.pieces));
        let pump = Pump { to, killed, pieces, had: Had::default(), left_out: Had::default() };
        let task = drain.spawn_companion("output of a run", carry(pump, streams.ended.clone()));
        Self { output: Some(AbortOnDropHandle::new(task)), ..streams }
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
        self.ended.cancel();
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

/// What the engine gives of both outputs of a process.
pub(crate) trait Pieces:
    Stream<Item = Result<LogOutput, EngineError>> + Send + Unpin + 'static
{
}

impl<S: Stream<Item = Result<LogOutput, EngineError>> + Send + Unpin + 'static> Pieces for S {}

/// What the engine keeps of a container's output.
#[derive(Debug)]
pub(crate) struct Log {
    docker: Docker,
    container: String,
    is_followed_to_its_end: bool,
}

impl Log {
    pub(crate) fn of(engine: &Engine, docker: &Docker, container: &str) -> Self {
        let (docker, container) = (docker.clone(), container.to_owned());
        Self { docker, container, is_followed_to_its_end: engine.knows(1, 42) }
    }

    /// From its beginning on; with `follow` until the process ends.
    fn read(&self, follow: bool) -> impl Pieces + use<> {
        let options = LogsOptionsBuilder::default().follow(follow).stdout(true).stderr(true).build();
        Box::pin(self.docker.logs(&self.container, Some(options)))
    }
}

/// Bytes of both outputs.
#[derive(Clone, Copy, Debug, Default)]
struct Had {
    stdout: usize,
    stderr: usize,
}

impl Had {
    fn of(&mut self, stream: OutputStream) -> &mut usize {
        match stream {
            OutputStream::Stdout => &mut self.stdout,
            OutputStream::Stderr => &mut self.stderr,
        }
    }
}

/// Carries output to its receiver, and throws it away when there is none any more.
struct Pump {
    to: Option<mpsc::Sender<Output>>,
    killed: CancellationToken,
    pieces: Arc<AtomicU64>,
    had: Had,
    /// What is not carried, because it has been before.
    left_out: Had,
}

impl Pump {
    /// False where it was broken off.
    async fn carry(&mut self, mut from: impl Pieces) -> bool {
        while let Some(piece) = from.next().await {
            match piece {
                Ok(piece) => self.pass(piece).await,
                Err(error) => {
                    let error = engine::message(&error);
                    tracing::warn!(%error, "the engine has broken off the output of a run");
                    return false;
                }
            }
        }
        true
    }

    /// The log may have lost its beginning, for it is bounded: then this is less than all of the rest, and nothing twice.
    async fn rest_of(&mut self, log: impl Pieces) {
        if self.to.is_some() {
            self.left_out = self.had;
            self.carry(log).await;
        }
    }

    async fn pass(&mut self, piece: LogOutput) {
        self.pieces.fetch_add(1, Ordering::Relaxed);
        let (stream, mut bytes) = match piece {
            LogOutput::StdErr { message } => (OutputStream::Stderr, message),
            LogOutput::StdOut { message } | LogOutput::StdIn { message } | LogOutput::Console { message } => {
                (OutputStream::Stdout, message)
            }
        };
        let left_out = self.left_out.of(stream);
        let skipped = bytes.len().min(*left_out);
        *left_out -= skipped;
        bytes.advance(skipped);
        let had = self.had.of(stream);
        *had = had.saturating_add(bytes.len());
        let Some(to) = &self.to else { return };
        if !deliver(stream, bytes, to, &self.killed).await {
            self.to = None;
        }
    }
}

/// False when nobody receives any more.
async fn deliver(
    stream: OutputStream,
    mut bytes: Bytes,
    to: &mpsc::Sender<Output>,
    killed: &CancellationToken,
) -> bool {
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

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    type Piece = Result<LogOutput, EngineError>;

    fn out(text: &'static str) -> Piece {
        Ok(LogOutput::StdOut { message: Bytes::from_static(text.as_bytes()) })
    }

    fn err(text: &'static str) -> Piece {
        Ok(LogOutput::StdErr { message: Bytes::from_static(text.as_bytes()) })
    }

    fn broken() -> Piece {
        Err(EngineError::RequestTimeoutError)
    }

    /// What a receiver has of both outputs, by a stream and the log after it.
    async fn received<const N: usize, const M: usize>(first: [Piece; N], log: [Piece; M]) -> [String; 2] {
        let (to, mut from) = mpsc::channel(64);
        let mut pump = Pump {
            to: Some(to),
            killed: CancellationToken::new(),
            pieces: Arc::default(),
            had: Had::default(),
            left_out: Had::default(),
        };
        pump.carry(stream::iter(first)).await;
        pump.rest_of(stream::iter(log)).await;
        drop(pump);
        let mut received = [String::new(), String::new()];
        while let Some(Output { stream, bytes }) = from.recv().await {
            received[usize::from(stream == OutputStream::Stderr)] += std::str::from_utf8(&bytes).unwrap();
        }
        received
    }

    #[tokio::test]
    async fn what_a_stream_leaves_out_is_read_from_the_log_and_nothing_twice() {
        let log = || [out("one\n"), err("two\n"), out("three\n")];
        let all = ["one\nthree\n", "two\n"];
        assert_eq!(received(log(), log()).await, all);
        assert_eq!(received([out("on"), broken(), out("lost")], log()).await, all);
        assert_eq!(received([err("two\n"), out("one\nth")], log()).await, all);
        assert_eq!(received([], log()).await, all);
    }

    #[tokio::test]
    async fn a_log_that_has_lost_its_beginning_repeats_nothing() {
        assert_eq!(received([out("one\ntwo\n")], [out("two\n")]).await, ["one\ntwo\n", ""]);
    }
}
