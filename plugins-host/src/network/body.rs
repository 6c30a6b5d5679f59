//! Bodies of requests and answers.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bridge_core::BoxFuture;
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

use super::connect::Outlet;
use super::error::NetworkError;
use super::held::Held;
use super::pool::Link;
use crate::call::{CallState, Ended};

/// The body of a request, whoever made it.
pub(super) type Outgoing = UnsyncBoxBody<Bytes, Box<dyn Error + Send + Sync>>;

/// A body that is there.
pub(super) fn whole(bytes: Bytes) -> Outgoing {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// The body of an answer. When all of it has been read its connection serves again; when it is dropped before, the
/// connection is closed.
pub(super) struct Arriving {
    incoming: Incoming,
    home: Option<(Arc<Outlet>, Link)>,
    held: Held,
    watch: Option<Watch>,
}

/// Ends a body with the job that it is for, and where nothing arrives for too long.
struct Watch {
    over: BoxFuture<'static, Ended>,
    pause: Option<(Duration, Pin<Box<Sleep>>)>,
}

impl Arriving {
    /// What comes over `link`.
    pub(super) fn new(incoming: Incoming, outlet: Arc<Outlet>, link: Link) -> Self {
        let held = outlet.held().clone();
        let mut body = Self { incoming, home: Some((outlet, link)), held, watch: None };
        body.go_home_at_the_end();
        body
    }

    /// For readers that do not wait within their job's limits by themselves.
    pub(super) fn bound_to(mut self, call: CallState, pause: Option<Duration>) -> Self {
        let over = Box::pin(async move { call.ended().await });
        let pause = pause.map(|limit| (limit, Box::pin(sleep(limit))));
        self.watch = Some(Watch { over, pause });
        self
    }

    fn give_up(&mut self, error: NetworkError) -> Poll<Option<Result<Frame<Bytes>, NetworkError>>> {
        self.watch = None;
        self.home = None;
        Poll::Ready(Some(Err(error)))
    }

    fn go_home_at_the_end(&mut self) {
        if self.incoming.is_end_stream() {
            self.go_home();
        }
    }

    fn go_home(&mut self) {
        if let Some((outlet, link)) = self.home.take() {
            outlet.pool().keep(link);
        }
    }
}

impl Watch {
    fn ended(&mut self, context: &mut Context<'_>) -> Option<NetworkError> {
        if let Poll::Ready(ended) = self.over.as_mut().poll(context) {
            return Some(ended.into());
        }
        let (_, pause) = self.pause.as_mut()?;
        pause.as_mut().poll(context).is_ready().then_some(NetworkError::Late)
    }
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = NetworkError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, NetworkError>>> {
        if let Some(error) = self.watch.as_mut().and_then(|watch| watch.ended(context)) {
            return self.give_up(error);
        }
        match ready!(Pin::new(&mut self.incoming).poll_frame(context)) {
            Some(Ok(frame)) => {
                let frame = match self.held.frame(frame) {
                    Ok(frame) => frame,
                    Err(error) => return self.give_up(error),
                };
                self.go_home_at_the_end();
                if let Some((limit, pause)) = self.watch.as_mut().and_then(|watch| watch.pause.as_mut()) {
                    pause.as_mut().reset(Instant::now() + *limit);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => self.give_up(NetworkError::of_body(error)),
            None => {
                self.go_home();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
