//! Connections, and what is asked over them; a [`bridge_net::Pool`] lends them.
//!
//! A connection carries one statement at a time and is polled by whoever waits for its answer, so it needs no task of its
//! own. One whose statement was given up is closed, and the statement killed over another one.

mod answer;
#[cfg(test)]
mod killing;
mod link;
mod request;

use std::time::Duration;

use bridge_core::{BridgeError, Call};
use bridge_net::{Condition, Origin};
use tokio::time::Instant;

pub(crate) use self::answer::Answer;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use self::answer::Received;
pub(crate) use self::request::{Extra, Question, StatementId};

use self::link::{Connector, Link};
use crate::config::Settings;
use crate::error::{RequestError, while_connecting};

/// How often a statement is looked for that is not running yet, and how long it may take to begin.
const KILL_TRIES: u32 = 4;
const KILL_PERIOD: Duration = Duration::from_millis(150);

/// The connections of one source.
pub(crate) type Pool = bridge_net::Pool<Server>;

/// A connection that is lent.
pub(crate) type Lease = bridge_net::Lease<Server>;

/// The server of one source.
pub(crate) struct Server(Connector);

/// A connection, and what runs over it.
pub(crate) struct Channel {
    /// Nothing once nobody may use it again.
    link: Option<Link>,
    /// What has been asked and is not answered yet.
    running: Option<StatementId>,
}

impl Server {
    /// Reads the files that the settings name; opens nothing.
    pub(crate) async fn load(settings: &Settings) -> Result<Self, BridgeError> {
        Connector::load(settings).await.map(Self).map_err(|error| while_connecting(error.into()))
    }

    /// Ends a statement at the server. One that has been sent a moment ago may not have begun, so it is looked for more
    /// than once.
    async fn kill(&self, id: StatementId) -> Result<(), RequestError> {
        let mut link = self.0.connect().await?;
        for _ in 0..KILL_TRIES {
            if !link.text(&self.0, &id.kill()).await?.trim().is_empty() {
                break;
            }
            tokio::time::sleep(KILL_PERIOD).await;
        }
        Ok(())
    }
}

impl Origin for Server {
    type Connection = Channel;

    /// Servers close theirs after ten seconds.
    const IDLE_LIMIT: Duration = Duration::from_secs(9);

    async fn connect(&self, _deadline: Instant) -> Result<Channel, BridgeError> {
        let link = self.0.connect().await.map_err(while_connecting)?;
        Ok(Channel { link: Some(link), running: None })
    }

    fn settle(&self, channel: &mut Channel) -> Condition {
        match (channel.running, &channel.link) {
            (Some(_), _) => Condition::Busy,
            (None, Some(_)) => Condition::Idle,
            (None, None) => Condition::Spent,
        }
    }

    fn is_alive(&self, channel: &mut Channel) -> bool {
        channel.link.as_mut().is_some_and(Link::is_alive)
    }

    async fn mend(&self, channel: Channel, _deadline: Instant) -> Option<Channel> {
        let Channel { link, running } = channel;
        // The server of a connection that closes ends its statement by itself, when it comes to notice.
        drop(link);
        // A role that may not kill has its statement ended so, or by its timeout.
        let _refused = self.kill(running?).await;
        None
    }
}

/// What is done over a lease.
pub(crate) trait Ask: Sized {
    /// Asks. The answer has its first byte, or is a refusal, when this returns.
    async fn ask(self, question: &Question<'_>) -> Result<Answer, RequestError>;

    /// The connection that the answer comes over.
    fn link(&mut self) -> Option<&mut Link>;

    /// Says that the statement has ended.
    fn finish(&mut self);

    /// Nobody may use the connection again.
    fn discard(&mut self);
}

impl Ask for Lease {
    async fn ask(mut self, question: &Question<'_>) -> Result<Answer, RequestError> {
        let Some((pool, Channel { link: Some(link), running })) = self.parts() else {
            return Err(RequestError::Nonsense("a lease without a connection"));
        };
        *running = Some(question.id);
        let response = link.send(pool.origin().0.request(question)).await?;
        Answer::begin(self, response).await
    }

    fn link(&mut self) -> Option<&mut Link> {
        self.connection()?.link.as_mut()
    }

    fn finish(&mut self) {
        if let Some(channel) = self.connection() {
            channel.running = None;
        }
    }

    fn discard(&mut self) {
        if let Some(channel) = self.connection() {
            channel.link = None;
        }
    }
}

/// The server's version, asked without a word that an old one may not know.
pub(crate) async fn version(pool: &Pool, call: &Call) -> Result<String, BridgeError> {
    let mut lease = pool.lease(call).await?;
    let Some((_, Channel { link: Some(link), running })) = lease.parts() else {
        return Err(BridgeError::Internal("a lease without a connection".to_owned()));
    };
    *running = Some(StatementId::new());
    let asked = link.text(&pool.origin().0, "SELECT version()");
    let answer = pool.bounded(Instant::from_std(call.deadline), asked).await?;
    if answer.is_ok() {
        lease.finish();
    }
    answer.map(|version| version.trim().to_owned()).map_err(while_connecting)
}
