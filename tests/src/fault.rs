//! A TCP link that breaks on demand, and counts what passes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// How the link behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// Everything passes.
    Open,
    /// Bytes vanish in both directions, connections stay: no reset, no end. New connections are accepted and silent.
    Blackhole,
    /// At most so many bytes a second in each direction.
    Slow(u64),
}

/// A proxy in front of one address.
#[derive(Debug)]
pub struct Link {
    address: SocketAddr,
    upstream: SocketAddr,
    mood: watch::Sender<Mood>,
    cuts: watch::Sender<u64>,
    counts: Arc<Counts>,
    listener: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Counts {
    up: AtomicU64,
    down: AtomicU64,
    connections: AtomicU64,
}

impl Link {
    /// A link to `upstream`, on a port of its own.
    pub async fn to(upstream: SocketAddr) -> Self {
        Self::on(IpAddr::V4(Ipv4Addr::LOCALHOST), upstream).await
    }

    /// The same at another address of this machine.
    pub async fn on(address: IpAddr, upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind((address, 0)).await.unwrap();
        let mut link = Self {
            address: listener.local_addr().unwrap(),
            upstream,
            mood: watch::Sender::new(Mood::Open),
            cuts: watch::Sender::new(0),
            counts: Arc::default(),
            listener: None,
        };
        link.listen(listener);
        link
    }

    /// Where to connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes the behaviour of all connections, present and future.
    pub fn set(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    /// Resets every connection. New ones are taken.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Resets every connection and refuses new ones until [`accept`](Self::accept).
    pub async fn refuse(&mut self) {
        if let Some(listener) = self.listener.take() {
            listener.abort();
            // The port is free when the task has really gone.
            drop(listener.await);
        }
        self.cut();
    }

    /// Takes connections again, on the same port.
    pub async fn accept(&mut self) {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(self.address).unwrap();
        self.listen(socket.listen(64).unwrap());
    }

    /// Bytes that have passed towards the upstream.
    pub fn sent_up(&self) -> u64 {
        self.counts.up.load(Ordering::Relaxed)
    }

    /// Bytes that have come down.
    pub fn sent_down(&self) -> u64 {
        self.counts.down.load(Ordering::Relaxed)
    }

    /// Connections that were taken so far.
    pub fn connections(&self) -> u64 {
        self.counts.connections.load(Ordering::Relaxed)
    }

    fn listen(&mut self, listener: TcpListener) {
        let upstream = self.upstream;
        let (mood, cuts, counts) = (self.mood.subscribe(), self.cuts.subscribe(), Arc::clone(&self.counts));
        self.listener = Some(tokio::spawn(async move {
            let serve = |client| {
                let (mood, mut cuts, counts) = (mood.clone(), cuts.clone(), Arc::clone(&counts));
                cuts.mark_unchanged();
                carry(client, upstream, mood, cuts, counts)
            };
            // Connections outlive the listener: only a cut ends them.
            while let Ok((client, _)) = listener.accept().await {
                counts.connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(client));
            }
        }));
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(listener) = self.listener.take() {
            listener.abort();
        }
        self.cut();
    }
}

async fn carry(
    client: TcpStream,
    upstream: SocketAddr,
    mood: watch::Receiver<Mood>,
    mut cuts: watch::Receiver<u64>,
    counts: Arc<Counts>,
) {
    let Ok(server) = TcpStream::connect(upstream).await else { return };
    for stream in [&client, &server] {
        stream.set_nodelay(true).unwrap();
        // What ends without an orderly close is a reset.
        stream.set_zero_linger().unwrap();
    }
    let (client_read, client_write) = client.into_split();
    let (server_read, server_write) = server.into_split();
    let mut directions = JoinSet::new();
    let (up, down) = (Arc::clone(&counts), counts);
    directions.spawn(pump(client_read, server_write, mood.clone(), move |bytes| {
        up.up.fetch_add(bytes, Ordering::Relaxed);
    }));
    directions.spawn(pump(server_read, client_write, mood, move |bytes| {
        down.down.fetch_add(bytes, Ordering::Relaxed);
    }));
    tokio::select! {
        _ = cuts.changed() => {}
        _ = async { while directions.join_next().await.is_some() {} } => {}
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut mood: watch::Receiver<Mood>,
    passed: impl Fn(u64),
) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let size = match *mood.borrow_and_update() {
            Mood::Blackhole => 0,
            Mood::Open => buffer.len(),
            // Twenty pieces a second.
            Mood::Slow(rate) => usize::try_from(rate / 20).unwrap().clamp(1, buffer.len()),
        };
        if size == 0 {
            if mood.changed().await.is_err() {
                return;
            }
            continue;
        }
        let read = tokio::select! {
            read = from.read(&mut buffer[..size]) => read,
            changed = mood.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
        };
        let Ok(count @ 1..) = read else {
            drop(to.shutdown().await);
            return;
        };
        // Bytes that were on the way when the link went dark vanish, too.
        if *mood.borrow() == Mood::Blackhole {
            continue;
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
        passed(u64::try_from(count).unwrap());
        if matches!(*mood.borrow(), Mood::Slow(_)) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
