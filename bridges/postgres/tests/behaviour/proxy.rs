//! A proxy that counts how often a client waits for an answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Stands between a client and a server.
#[derive(Clone)]
pub(crate) struct Proxy {
    pub(crate) port: u16,
    turns: Arc<AtomicU32>,
    server_spoke_last: Arc<AtomicBool>,
}

impl Proxy {
    /// Forwards to a port of this machine.
    pub(crate) async fn start(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let proxy = Self { port, turns: Arc::default(), server_spoke_last: Arc::new(AtomicBool::new(true)) };
        run(proxy.clone().accept(listener, server));
        proxy
    }

    /// Round trips since the last time this was asked.
    pub(crate) fn round_trips(&self) -> u32 {
        self.turns.swap(0, Ordering::SeqCst)
    }

    async fn accept(self, listener: TcpListener, server: u16) {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
            let (client_in, client_out) = client.into_split();
            let (server_in, server_out) = server.into_split();
            let (up, down) = (self.clone(), self.clone());
            run(forward(client_in, server_out, move || {
                if up.server_spoke_last.swap(false, Ordering::SeqCst) {
                    up.turns.fetch_add(1, Ordering::SeqCst);
                }
            }));
            run(forward(server_in, client_out, move || down.server_spoke_last.store(true, Ordering::SeqCst)));
        }
    }
}

/// Refuses a login that brings a setting of the session, as PgBouncer does, and forwards every other. Answers its port.
pub(crate) async fn pooler(server: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    run(async move {
        while let Ok((client, _)) = listener.accept().await {
            run(log_in(client, server));
        }
    });
    port
}

async fn log_in(mut client: TcpStream, server: u16) {
    let mut startup = vec![0; 10_000];
    let length = client.read(&mut startup).await.unwrap();
    startup.truncate(length);
    if startup.windows(8).any(|bytes| bytes == b"DateStyl") {
        let fields = b"SFATAL\0VFATAL\0C08P01\0Munsupported startup parameter: DateStyle\0\0";
        let mut refusal = vec![b'E'];
        refusal.extend(u32::try_from(fields.len() + 4).unwrap().to_be_bytes());
        refusal.extend(fields);
        client.write_all(&refusal).await.unwrap();
        return;
    }
    let mut server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
    server.write_all(&startup).await.unwrap();
    // Ends when either side does.
    tokio::io::copy_bidirectional(&mut client, &mut server).await.ok();
}

async fn forward(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, on_bytes: impl Fn()) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        on_bytes();
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a test's runtime ends its tasks with the test")]
fn run(work: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(work);
}
