//! A way to an engine that a test can cut or hold up, as the engine itself cannot be where others use it.

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What becomes of what is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mood {
    /// It arrives.
    Open,
    /// Connections break, and new ones are taken and closed.
    Cut,
    /// Nothing moves, in either direction.
    Held,
    /// Requests with these words stand still.
    HeldAt(&'static str),
    /// Requests with these words are refused, as by an engine that cannot do it.
    RefusedAt(String),
}

const REFUSAL: &[u8] = b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\n\
    Content-Length: 18\r\nConnection: close\r\n\r\n{\"message\":\"busy\"}";

/// A socket in front of an engine's.
pub(crate) struct Way {
    folder: TempDir,
    mood: watch::Sender<Mood>,
    held: watch::Sender<u64>,
    listener: JoinHandle<()>,
}

impl Way {
    /// To the engine at `host` (`unix://…`).
    pub(crate) fn to(host: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let engine = PathBuf::from(host.strip_prefix("unix://").unwrap());
        let (mood, held) = (watch::Sender::new(Mood::Open), watch::Sender::new(0));
        let listener = UnixListener::bind(folder.path().join("docker.sock")).unwrap();
        let (moods, holds) = (mood.clone(), held.clone());
        let listener = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, engine.clone(), moods.subscribe(), holds.clone()));
            }
        });
        Self { folder, mood, held, listener }
    }

    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.folder.path().join("docker.sock").display())
    }

    pub(crate) fn set(&self, mood: Mood) {
        self.held.send_replace(0);
        self.mood.send_replace(mood);
    }

    /// Until something stands still.
    pub(crate) async fn until_held(&self) {
        self.held.subscribe().wait_for(|held| *held > 0).await.unwrap();
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.listener.abort();
        self.mood.send_replace(Mood::Cut);
    }
}

async fn carry(
    mut client: UnixStream,
    engine: impl AsRef<Path>,
    mut mood: watch::Receiver<Mood>,
    held: watch::Sender<u64>,
) {
    if *mood.borrow() == Mood::Cut {
        return;
    }
    let Ok(mut server) = UnixStream::connect(engine).await else { return };
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let up = pump(from_client, to_server, mood.clone(), &held);
    let down = pump(from_server, to_client, mood.clone(), &held);
    let cut = async { drop(mood.wait_for(|mood| *mood == Mood::Cut).await) };
    tokio::select! {
        Pumped::Refused = up => drop(client.write_all(REFUSAL).await),
        _ = down => {}
        () = cut => {}
    }
}

/// How one direction came to its end.
enum Pumped {
    Closed,
    Refused,
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut mood: watch::Receiver<Mood>,
    held: &watch::Sender<u64>,
) -> Pumped {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let words = String::from_utf8_lossy(&buffer[..count]).into_owned();
        let passes = |mood: &Mood| match mood {
            Mood::Open | Mood::Cut | Mood::RefusedAt(_) => true,
            Mood::Held => false,
            Mood::HeldAt(at) => !words.contains(at),
        };
        if matches!(&*mood.borrow(), Mood::RefusedAt(at) if words.contains(at)) {
            return Pumped::Refused;
        }
        if !passes(&mood.borrow()) {
            held.send_modify(|held| *held += 1);
        }
        if mood.wait_for(passes).await.is_err() || to.write_all(&buffer[..count]).await.is_err() {
            return Pumped::Closed;
        }
    }
    drop(to.shutdown().await);
    Pumped::Closed
}
