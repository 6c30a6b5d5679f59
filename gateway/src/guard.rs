//! What is watched of a connection's bytes: whether the other end takes any, and how many may come before it is known.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection without a limit.
const ANY: usize = usize::MAX;

/// What is known of a connection, shared with the requests on it.
#[derive(Debug)]
pub(crate) struct Watch {
    stalled: AtomicBool,
    /// Bytes that may still come.
    left: AtomicUsize,
}

impl Default for Watch {
    fn default() -> Self {
        Self { stalled: AtomicBool::new(false), left: AtomicUsize::new(ANY) }
    }
}

impl Watch {
    /// Whether the connection was given up because the other end took no more bytes.
    pub(crate) fn has_stalled(&self) -> bool {
        self.stalled.load(Ordering::Acquire)
    }

    /// Lets so many bytes come from now on, give or take one read.
    pub(crate) fn limit(&self, bytes: usize) {
        self.left.store(bytes, Ordering::Release);
    }

    /// Lets any number of bytes come.
    pub(crate) fn lift(&self) {
        self.left.store(ANY, Ordering::Release);
    }

    fn is_spent(&self) -> bool {
        self.left.load(Ordering::Acquire) == 0
    }

    fn spend(&self, bytes: usize) {
        let left = self.left.load(Ordering::Acquire);
        if left != ANY {
            self.left.store(left.saturating_sub(bytes), Ordering::Release);
        }
    }

    fn note<T>(&self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &polled
            && error.kind() == io::ErrorKind::TimedOut
        {
            self.stalled.store(true, Ordering::Release);
        }
        polled
    }
}

/// A stream that is watched.
#[derive(Debug)]
pub(crate) struct Guarded<S> {
    pub(crate) stream: S,
    pub(crate) watch: Arc<Watch>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.watch.is_spent() {
            return Poll::Ready(Err(io::Error::other("too long for somebody who is not known")));
        }
        let before = into.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, into);
        self.watch.spend(into.filled().len() - before);
        self.watch.note(polled)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch.note(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.watch.note(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.watch.note(polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn a_limited_stream_ends_with_an_error_and_a_lifted_one_goes_on() {
        let watch = Arc::new(Watch::default());
        let (mut far, near) = tokio::io::duplex(64);
        let mut near = Guarded { stream: near, watch: Arc::clone(&watch) };
        let mut read = [0; 8];
        far.write_all(&[7; 32]).await.unwrap();
        watch.limit(16);
        near.read_exact(&mut read).await.unwrap();
        near.read_exact(&mut read).await.unwrap();
        assert!(near.read_exact(&mut read).await.is_err());
        watch.lift();
        near.read_exact(&mut read).await.unwrap();
        assert!(!watch.has_stalled());
    }
}
