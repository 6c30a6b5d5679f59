//! What an instance holds of answers: heads, and pieces of bodies that it has not read.
//!
//! A server could make the runner keep much for a guest that keeps its answers: each has a head, and a piece of a body of
//! which the guest has taken a byte keeps the whole piece. So every piece is counted from its arrival until the last of it
//! is dropped, whoever has it then.

use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Frame;
use hyper::header::{HeaderMap, HeaderValue};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::NetworkError;
use super::request::BUFFER;

/// A smaller piece is copied, because it would keep the buffer that it was read into.
const COPIED: usize = 32 << 10;
/// What a header takes up beside its text.
const ENTRY: usize = 100;

/// Counts bytes. Clones count together.
#[derive(Clone)]
pub(crate) struct Held {
    room: Arc<Semaphore>,
    limit: usize,
}

/// Bytes that are counted as long as they live.
struct Counted {
    bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Held {
    /// At most `limit` bytes at once.
    pub(super) fn new(limit: usize) -> Self {
        let limit = limit.min(Semaphore::MAX_PERMITS);
        Self { room: Arc::new(Semaphore::new(limit)), limit }
    }

    /// The same headers, counted.
    pub(super) fn headers(&self, headers: &HeaderMap) -> Result<HeaderMap, NetworkError> {
        let size = |(name, value): (&_, &HeaderValue)| header_size(name, value);
        let size = headers.iter().map(size).sum();
        let values: Vec<u8> = headers.values().flat_map(|value| value.as_bytes()).copied().collect();
        let mut values = self.counted(values.into(), size)?;
        let mut counted = HeaderMap::with_capacity(headers.keys_len());
        for (name, value) in headers {
            // What was a value is one.
            if let Ok(value) = HeaderValue::from_maybe_shared(values.split_to(value.len())) {
                counted.append(name, value);
            }
        }
        Ok(counted)
    }

    /// The same piece of a body, counted.
    pub(super) fn frame(&self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, NetworkError> {
        let frame = match frame.into_data() {
            Ok(data) => return self.data(data).map(Frame::data),
            Err(frame) => frame,
        };
        match frame.into_trailers() {
            Ok(trailers) => self.headers(&trailers).map(Frame::trailers),
            Err(frame) => Ok(frame),
        }
    }

    fn data(&self, data: Bytes) -> Result<Bytes, NetworkError> {
        match data.len() {
            size @ ..COPIED => self.counted(Bytes::copy_from_slice(&data), size),
            size => self.counted(data, size.max(BUFFER)),
        }
    }

    fn counted(&self, bytes: Bytes, size: usize) -> Result<Bytes, NetworkError> {
        let full = || NetworkError::Full { limit: self.limit };
        let size = u32::try_from(size).map_err(|_| full())?;
        let room = Arc::clone(&self.room).try_acquire_many_owned(size).map_err(|_| full())?;
        Ok(Bytes::from_owner(Counted { bytes, _room: room }))
    }
}

fn header_size(name: &hyper::header::HeaderName, value: &HeaderValue) -> usize {
    name.as_str().len().saturating_add(value.len()).saturating_add(ENTRY)
}
