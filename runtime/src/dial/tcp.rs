//! From a host to a connected socket.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use url::Host;

/// How long one address may take to accept.
const ADDRESS_LIMIT: Duration = Duration::from_secs(5);
/// How long to wait before the next address is tried beside those under way: the value that RFC 8305 recommends.
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);
/// A resolver's answer may be hostile; more addresses than these are not tried.
const ADDRESSES: usize = 16;

/// All addresses of a host, the families by turns, beginning with the one that the resolver prefers.
pub(super) async fn resolve(host: &Host<String>, port: u16) -> io::Result<Vec<SocketAddr>> {
    let addresses = match host {
        Host::Ipv4(address) => vec![SocketAddr::from((*address, port))],
        Host::Ipv6(address) => vec![SocketAddr::from((*address, port))],
        Host::Domain(name) => tokio::net::lookup_host((name.as_str(), port)).await?.collect(),
    };
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    }
    Ok(by_turns(addresses))
}

/// Connects to the first of `addresses` that accepts. The error is that of the last one that failed.
pub(super) async fn connect_any(addresses: Vec<SocketAddr>) -> io::Result<(TcpStream, SocketAddr)> {
    let mut waiting = addresses.into_iter();
    let mut under_way = FuturesUnordered::new();
    let mut last_error = io::Error::new(io::ErrorKind::NotFound, "there is no address");
    loop {
        match waiting.next() {
            Some(address) => under_way.push(connect(address)),
            None if under_way.is_empty() => return Err(last_error),
            None => {}
        }
        let patience = async {
            if waiting.len() == 0 { std::future::pending().await } else { sleep(NEXT_ADDRESS_AFTER).await }
        };
        tokio::select! {
            Some(connected) = under_way.next() => match connected {
                Ok(connected) => return Ok(connected),
                Err(error) => last_error = error,
            },
            () = patience => {}
        }
    }
}

async fn connect(address: SocketAddr) -> io::Result<(TcpStream, SocketAddr)> {
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, format!("{address} does not answer"));
    let stream = timeout(ADDRESS_LIMIT, TcpStream::connect(address)).await.map_err(late)??;
    // Frames are written whole; waiting for more would only delay them.
    stream.set_nodelay(true)?;
    Ok((stream, address))
}

fn by_turns(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let preferred = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == preferred);
    let mut second = second.into_iter();
    let mut ordered = Vec::new();
    for address in first {
        ordered.push(address);
        ordered.extend(second.next());
    }
    ordered.extend(second);
    ordered.truncate(ADDRESSES);
    ordered
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpSocket};
    use tokio::time::Instant;

    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    /// An address of ours where nobody listens.
    async fn refusing() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
    }

    /// A listener whose queue is full, so that the system drops further attempts: a blackhole.
    async fn blackhole() -> (SocketAddr, TcpListener, Vec<TcpStream>) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut queued = Vec::new();
        for _ in 0..16 {
            match timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
                Ok(stream) => queued.push(stream.unwrap()),
                Err(_) => return (address, listener, queued),
            }
        }
        panic!("the queue of {address} does not fill up");
    }

    #[test]
    fn families_take_turns_and_the_resolvers_preference_begins() {
        let ordered = by_turns(addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"]));
        assert_eq!(ordered, addresses(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"]));
        assert_eq!(by_turns(addresses(&["1.1.1.1:1", "[::1]:1"])), addresses(&["1.1.1.1:1", "[::1]:1"]));
    }

    #[tokio::test]
    async fn a_refusing_address_gives_way_to_the_next_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        let (_, address) = connect_any(vec![refusing().await, good]).await.unwrap();
        assert_eq!(address, good);
    }

    #[tokio::test]
    async fn a_silent_address_gives_way_before_its_own_limit() {
        let (silent, _listener, _queued) = blackhole().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        let started = Instant::now();
        let (_, address) = connect_any(vec![silent, good]).await.unwrap();
        assert_eq!(address, good);
        assert!(started.elapsed() < ADDRESS_LIMIT / 2, "{:?}", started.elapsed());
    }

    #[tokio::test]
    async fn a_silent_address_alone_ends_at_its_limit() {
        let (silent, _listener, _queued) = blackhole().await;
        // From here on the clock moves only when everyone waits.
        tokio::time::pause();
        let started = Instant::now();
        let error = connect_any(vec![silent]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(started.elapsed().as_secs(), ADDRESS_LIMIT.as_secs());
    }

    #[tokio::test]
    async fn when_all_refuse_the_error_says_so() {
        let error = connect_any(vec![refusing().await, refusing().await]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
