//! The network against real servers on loopback, behind names and addresses of an internet of our own.

mod connecting;
mod encrypting;
mod requesting;
mod wasi;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bridge_core::BoxFuture;
use bridge_net::Roots;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::internet::Internet;
use super::policy::Refusals;
use super::socket::Socket;
use super::tls::Configurations;
use super::{Allowed, Endpoint, Network, Outside};
use crate::allow::Allowlist;
use crate::call::CallState;
use crate::stats::Stats;

/// Addresses that anybody could have. Nothing is ever sent to them: the web says which listener stands for each.
const PUBLIC: &str = "8.8.8.8";
const OTHER_PUBLIC: &str = "2606:4700::1111";

/// What names resolve to, and who listens where. Clones are the same web.
#[derive(Clone, Default)]
struct Web(Arc<Mutex<Book>>);

#[derive(Default)]
struct Book {
    /// Each lookup takes the next answer; the last one stays.
    names: HashMap<String, VecDeque<Vec<IpAddr>>>,
    routes: HashMap<IpAddr, Behind>,
    looked_up: Vec<String>,
    dialed: Vec<IpAddr>,
}

#[derive(Clone, Copy)]
enum Behind {
    /// A listener on loopback, whatever the port.
    Listener(SocketAddr),
    /// Nobody, and packets are dropped.
    Silence,
}

impl Web {
    fn name(&self, name: &str, answers: &[&[&str]]) -> &Self {
        let answers = answers.iter().map(|answer| answer.iter().map(|text| ip(text)).collect()).collect();
        self.0.lock().unwrap().names.insert(name.to_owned(), answers);
        self
    }

    fn route(&self, address: &str, behind: Behind) -> &Self {
        self.0.lock().unwrap().routes.insert(ip(address), behind);
        self
    }

    fn looked_up(&self) -> Vec<String> {
        self.0.lock().unwrap().looked_up.clone()
    }

    fn dialed(&self) -> Vec<IpAddr> {
        self.0.lock().unwrap().dialed.clone()
    }
}

impl Internet for Web {
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        let mut book = self.0.lock().unwrap();
        book.looked_up.push(name.to_owned());
        let answer = book.names.get_mut(name).and_then(|answers| match answers.len() {
            0 | 1 => answers.front().cloned(),
            _ => answers.pop_front(),
        });
        Box::pin(async move { answer.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such name")) })
    }

    fn dial(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<TcpStream>> {
        let mut book = self.0.lock().unwrap();
        book.dialed.push(address.ip());
        let behind = book.routes.get(&address.ip()).copied();
        Box::pin(async move {
            match behind {
                Some(Behind::Listener(listener)) => TcpStream::connect(listener).await,
                Some(Behind::Silence) => std::future::pending().await,
                None if address.ip().is_loopback() => TcpStream::connect(address).await,
                None => Err(io::ErrorKind::ConnectionRefused.into()),
            }
        })
    }
}

/// An instance of a plugin, as far as the network knows it.
struct World {
    web: Web,
    stats: Arc<Stats>,
    network: Network,
    call: CallState,
}

/// What a world is made of.
struct Making<'a> {
    allow: &'a [&'a str],
    endpoints: &'a [&'a str],
    sockets: usize,
    wasi_sockets: bool,
    roots: Roots,
}

impl Default for Making<'_> {
    fn default() -> Self {
        Self { allow: &[], endpoints: &[], sockets: 32, wasi_sockets: false, roots: Roots::System }
    }
}

impl World {
    fn of(web: &Web, making: Making<'_>) -> Self {
        let stats = Arc::<Stats>::default();
        let allowed = Allowed {
            hosts: Allowlist::parse(making.allow.iter().copied()).unwrap(),
            sockets: making.sockets,
            wasi_sockets: making.wasi_sockets,
        };
        let outside = Arc::new(Outside {
            plugin: "@acme/bridge-things".into(),
            allowed,
            internet: Box::new(web.clone()),
            tls: Configurations::new(making.roots),
            refusals: Refusals::default(),
            stats: Arc::clone(&stats),
        });
        let endpoints = making.endpoints.iter().map(|text| Endpoint::parse(text, None).unwrap()).collect();
        let call = CallState::within(Duration::from_secs(20));
        Self { web: web.clone(), stats, network: Network::new(&outside, endpoints), call }
    }

    fn allowing(allow: &[&str]) -> Self {
        Self::of(&Web::default(), Making { allow, ..Making::default() })
    }

    async fn connect(&self, host: &str, port: u16) -> Result<Socket, super::error::NetworkError> {
        Socket::connect(&self.network.outlet, &self.call, (host, port), None).await
    }

    fn refused(&self) -> u64 {
        self.stats.now().refused_connections
    }
}

/// A server on loopback that does what it is told to with each connection.
struct Server {
    address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Server {
    /// `serve` gets each connection with its number, from 0.
    async fn new<F, W>(serve: F) -> Self
    where
        F: Fn(TcpStream, usize) -> W + Send + Sync + 'static,
        W: Future<Output = io::Result<()>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepted = Arc::<AtomicUsize>::default();
        let mut tasks = JoinSet::new();
        let count = Arc::clone(&accepted);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let work = serve(stream, count.fetch_add(1, Ordering::SeqCst));
                // A client that goes away is how most of these end.
                connections.spawn(async move { drop(work.await) });
            }
        });
        Self { address, accepted, _tasks: tasks }
    }

    /// Sends back what it gets.
    async fn echo() -> Self {
        Self::new(|mut stream, _| async move {
            let (mut from, mut to) = stream.split();
            tokio::io::copy(&mut from, &mut to).await.map(drop)
        })
        .await
    }

    /// Accepts and says nothing.
    async fn mute() -> Self {
        Self::new(|mut stream, _| async move {
            let mut ignored = Vec::new();
            stream.read_to_end(&mut ignored).await.map(drop)
        })
        .await
    }

    fn port(&self) -> u16 {
        self.address.port()
    }

    fn behind(&self) -> Behind {
        Behind::Listener(self.address)
    }

    fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

/// Reads a request's head and the body that it announces; nothing at the end of the stream.
async fn request(stream: &mut TcpStream) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => bytes.push(byte),
            Err(_) => return Ok(None),
        }
    }
    let head = String::from_utf8(bytes).unwrap();
    let length =
        head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(Some(head + std::str::from_utf8(&body).unwrap()))
}

/// Answers with a body of known length.
async fn answer(stream: &mut TcpStream, body: &str) -> io::Result<()> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all((head + body).as_bytes()).await
}

/// Waits until something is so, for two seconds at most.
async fn eventually(what: &str, check: impl Fn() -> bool) {
    for _ in 0..200 {
        if check() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} did not become true");
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}
