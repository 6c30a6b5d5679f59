//! Tells callers that their runs have ended: one signed POST each, tried again until it is taken or hopeless.
//!
//! A message is a file until then, so that it survives this process. It is sent again after failures that may pass,
//! longer and longer apart; what the other side refuses for good is not repeated.

mod post;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ring::hmac;
use runtime::tls::ClientTls;
use runtime::{Drain, Secret};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::disk;
use super::metrics::Metrics;
use super::records::{Records, Told, now};
use crate::RunId;
use post::{Poster, Sent};

/// Messages under way at a time.
const AT_A_TIME: usize = 16;
/// Messages that wait, beyond which new ones are given up at once.
const MOST: usize = 10_000;
/// The pauses between tries double from the first to the last of these.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(10 * 60);
/// Twelve tries are some half an hour.
const ATTEMPTS: u32 = 12;
/// A message is given up after so long even if the server was stopped in between.
const PATIENCE_MS: u64 = 24 * 60 * 60 * 1000;

/// Sends messages. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Callbacks(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    poster: Poster,
    records: Arc<Records>,
    metrics: Arc<Metrics>,
    drain: Drain,
    turns: Semaphore,
    waiting: Semaphore,
    /// One message a run at a time, and what ends it.
    under_way: Mutex<HashMap<RunId, CancellationToken>>,
    /// Held while a message that is under way is written or removed.
    writing: Mutex<()>,
}

/// The right to be the only message of a run, until it is dropped.
struct Claim {
    shared: Arc<Shared>,
    id: RunId,
    forgotten: CancellationToken,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.shared.under_way().remove(&self.id);
    }
}

/// A message on disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message {
    id: RunId,
    url: String,
    /// The header's value: what it was signed with is not needed any more.
    signature: Option<String>,
    body: String,
    since: u64,
    attempts: u32,
}

impl Callbacks {
    /// Messages in a folder, which is made.
    pub(crate) fn open(
        folder: PathBuf,
        tls: ClientTls,
        private: bool,
        records: Arc<Records>,
        metrics: Arc<Metrics>,
        drain: &Drain,
    ) -> io::Result<Self> {
        disk::make_folder(&folder)?;
        Ok(Self(Arc::new(Shared {
            folder,
            poster: Poster::new(tls, private),
            records,
            metrics,
            drain: drain.clone(),
            turns: Semaphore::new(AT_A_TIME),
            waiting: Semaphore::new(MOST),
            under_way: Mutex::default(),
            writing: Mutex::default(),
        })))
    }

    /// Goes on with what an earlier process has left.
    pub(crate) fn resume(&self) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.0.folder)? {
            let path = entry?.path();
            if path.extension().is_none_or(|kind| kind != "json") {
                continue;
            }
            match disk::read(&path)?.and_then(|bytes| serde_json::from_slice::<Message>(&bytes).ok()) {
                Some(message) => {
                    if let Some(claim) = Shared::claim(&self.0, &message.id) {
                        self.spawn(message, claim);
                    }
                }
                None => disk::remove(&path)?,
            }
        }
        Ok(())
    }

    /// Sends `body` to whom a run's record names, unless that is done or under way. Answers when the message is safe, not
    /// when it has arrived.
    pub(crate) fn send(&self, id: &RunId, body: impl FnOnce() -> io::Result<String>) -> io::Result<()> {
        let Some(claim) = Shared::claim(&self.0, id) else { return Ok(()) };
        // Read after the claim: a message that was under way until now has noted its end there.
        let recipient = self.0.records.get(id)?.and_then(|record| record.callback);
        let Some(recipient) = recipient.filter(|recipient| recipient.told.is_none()) else { return Ok(()) };
        let path = self.0.path(id);
        if path.exists() {
            return Ok(());
        }
        let body = body()?;
        let signature = recipient.secret.as_ref().map(|secret| sign(secret, body.as_bytes()));
        let message =
            Message { id: id.clone(), url: recipient.url, signature, body, since: now(), attempts: 0 };
        disk::replace(&path, &serde_json::to_vec(&message)?, true)?;
        self.spawn(message, claim);
        Ok(())
    }

    /// Ends a run's message, whether or not it has arrived. There may be none.
    pub(crate) fn forget(&self, id: &RunId) -> io::Result<()> {
        if let Some(forgotten) = self.0.under_way().get(id) {
            forgotten.cancel();
        }
        let _alone = self.0.writing.lock().unwrap_or_else(PoisonError::into_inner);
        disk::remove(&self.0.path(id))
    }

    fn spawn(&self, message: Message, claim: Claim) {
        let shared = Arc::clone(&self.0);
        // Not waited for at the end: the next process goes on.
        self.0.drain.spawn_companion("callback", async move {
            let stopping = shared.drain.stopping();
            let delivery = shared.deliver(message, &claim.forgotten);
            stopping.run_until_cancelled(claim.forgotten.run_until_cancelled(delivery)).await;
            drop(claim);
        });
    }
}

impl Shared {
    /// None while the run has a message already.
    fn claim(shared: &Arc<Self>, id: &RunId) -> Option<Claim> {
        let forgotten = CancellationToken::new();
        match shared.under_way().entry(id.clone()) {
            Entry::Occupied(_) => return None,
            Entry::Vacant(free) => free.insert(forgotten.clone()),
        };
        Some(Claim { shared: Arc::clone(shared), id: id.clone(), forgotten })
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<RunId, CancellationToken>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn deliver(self: &Arc<Self>, mut message: Message, forgotten: &CancellationToken) {
        let Ok(_place) = self.waiting.try_acquire() else {
            return self.close(&message, Some("too many callbacks wait".to_owned())).await;
        };
        loop {
            message.attempts = message.attempts.saturating_add(1);
            let sent = self.attempt(&message).await;
            let error = match sent {
                Sent::Taken => return self.close(&message, None).await,
                Sent::Refused(error) => return self.close(&message, Some(error)).await,
                Sent::Failed(error) => error,
            };
            let old = now().saturating_sub(message.since) > PATIENCE_MS;
            if message.attempts >= ATTEMPTS || old {
                return self.close(&message, Some(error)).await;
            }
            tracing::info!(run = %message.id, attempts = message.attempts, error, "callback failed, will try again");
            self.keep(&message, forgotten).await;
            tokio::time::sleep(pause(message.attempts)).await;
        }
    }

    async fn attempt(&self, message: &Message) -> Sent {
        let Ok(_turn) = self.turns.acquire().await else {
            return Sent::Failed("the server stops".to_owned());
        };
        let Ok(url) = Url::parse(&message.url) else { return Sent::Refused("no URL".to_owned()) };
        self.poster.post(&url, message.signature.as_deref(), message.body.clone()).await
    }

    /// So that the next process does not begin to count anew.
    async fn keep(self: &Arc<Self>, message: &Message, forgotten: &CancellationToken) {
        let (path, bytes) = (self.path(&message.id), serde_json::to_vec(message));
        let (shared, forgotten) = (Arc::clone(self), forgotten.clone());
        let written = disk::blocking(move || {
            // Whoever forgets it removes the file, which must not come back.
            let _alone = shared.writing.lock().unwrap_or_else(PoisonError::into_inner);
            if forgotten.is_cancelled() { Ok(()) } else { disk::replace(&path, &bytes?, true) }
        });
        let written = written.await.flatten();
        if let Err(error) = written {
            tracing::warn!(run = %message.id, %error, "cannot note a callback's attempt");
        }
    }

    /// The message is over: taken, or given up with an error.
    async fn close(&self, message: &Message, error: Option<String>) {
        self.metrics.called_back(error.is_none());
        match &error {
            None => tracing::info!(run = %message.id, attempts = message.attempts, "callback delivered"),
            Some(error) => {
                tracing::warn!(run = %message.id, attempts = message.attempts, error, "callback given up");
            }
        }
        let told = Told { delivered: error.is_none(), attempts: message.attempts, error };
        let (records, id, path) = (Arc::clone(&self.records), message.id.clone(), self.path(&message.id));
        let noted = disk::blocking(move || {
            // The record first: were the message gone and nothing noted, the next process would send it again.
            records.update(&id, |record| {
                if let Some(callback) = &mut record.callback {
                    callback.told = Some(told);
                }
            })?;
            disk::remove(&path)
        });
        if let Err(error) = noted.await.flatten() {
            tracing::warn!(run = %message.id, %error, "cannot note the end of a callback");
        }
    }

    fn path(&self, id: &RunId) -> PathBuf {
        self.folder.join(format!("{id}.json"))
    }
}

/// `sha256=` and the HMAC-SHA256 of a body in hexadecimal.
fn sign(secret: &Secret, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
    let digits: String = hmac::sign(&key, body).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={digits}")
}

/// How long to wait after so many tries: doubling, and by chance up to a quarter less, so that many callbacks to one
/// server that was down do not all come at once.
fn pause(attempts: u32) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1 << attempts.saturating_sub(1).min(20)).min(LAST_PAUSE);
    let chance = uuid::Uuid::new_v4().as_bytes().first().copied().unwrap_or_default();
    doubled.saturating_sub(doubled / 4 * u32::from(chance) / 255)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::super::records::{Recipient, Record};
    use super::*;

    /// Takes every message, and keeps its body.
    async fn receiver() -> (String, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&bodies);
        drop(Drain::new().spawn("receiver", async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut text = String::new();
                while !text.ends_with('}') {
                    let mut piece = [0; 4096];
                    let count = stream.read(&mut piece).await.unwrap();
                    text.push_str(std::str::from_utf8(&piece[..count]).unwrap());
                }
                kept.lock().unwrap().push(text.rsplit_once("\r\n\r\n").unwrap().1.to_owned());
                stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
            }
        }));
        (url, bodies)
    }

    /// Whoever puts a run away, whoever adopts it, and whoever does so again later: all of them send.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn however_many_send_at_once_a_run_is_told_of_once() {
        const RUNS: usize = 20;
        let folder = tempfile::tempdir().unwrap();
        let records = Arc::new(Records::open(folder.path().join("records")).unwrap());
        let (url, bodies) = receiver().await;
        let (tls, drain) = (ClientTls::load(None, None).unwrap(), Drain::new());
        let (of, metrics) = (folder.path().join("callbacks"), Arc::new(Metrics::new()));
        let callbacks = Callbacks::open(of, tls, true, Arc::clone(&records), metrics, &drain).unwrap();
        let ids: Vec<RunId> = (0..RUNS).map(|_| RunId::new()).collect();
        for id in &ids {
            let mut record = Record::new(id.clone(), uuid::Uuid::nil());
            record.callback = Some(Recipient { url: url.clone(), secret: None, told: None });
            records.put(&record).unwrap();
        }
        let all = Arc::new(std::sync::Barrier::new(8));
        let senders = (0..8).map(|_| {
            let (callbacks, ids, all) = (callbacks.clone(), ids.clone(), Arc::clone(&all));
            tokio::task::spawn_blocking(move || {
                for id in &ids {
                    all.wait();
                    // Until it was told, and once more.
                    while callbacks.0.records.get(id).unwrap().unwrap().is_untold() {
                        callbacks.send(id, || Ok(format!("{{\"id\":\"{id}\"}}"))).unwrap();
                    }
                    callbacks.send(id, || panic!("it was told already")).unwrap();
                }
            })
        });
        for sender in senders.collect::<Vec<_>>() {
            sender.await.unwrap();
        }
        let over = async {
            while !callbacks.0.under_way().is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), over).await.unwrap();
        let mut seen = bodies.lock().unwrap().clone();
        let mut expected: Vec<String> = ids.iter().map(|id| format!("{{\"id\":\"{id}\"}}")).collect();
        seen.sort();
        expected.sort();
        assert_eq!(seen, expected);
        assert_eq!(std::fs::read_dir(folder.path().join("callbacks")).unwrap().count(), 0);
    }

    #[test]
    fn a_message_is_signed_as_the_other_side_expects() {
        // The second test case of RFC 4231.
        let signature = sign(&Secret::new("Jefe"), b"what do ya want for nothing?");
        assert_eq!(signature, "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    #[test]
    fn pauses_double_up_to_a_limit_and_vary_a_little() {
        for (attempts, most) in [(1, 1), (2, 2), (5, 16), (11, 600), (u32::MAX, 600)] {
            let most = Duration::from_secs(most);
            for _ in 0..20 {
                let pause = pause(attempts);
                assert!(pause <= most && pause >= most * 3 / 4, "{attempts}: {pause:?}");
            }
        }
    }
}
