//! Who is at the other end of a connection, as far as limits for strangers are concerned.

use std::net::{IpAddr, Ipv6Addr};

use axum::http::HeaderMap;

use crate::api::request::Peer;

/// The other end's address; of a proxy on this machine, the one that the proxy says.
pub(crate) fn remote(peer: &Peer, headers: &HeaderMap) -> IpAddr {
    let peer = peer.address.ip();
    forwarded(headers).filter(|_| peer.is_loopback()).unwrap_or(peer)
}

/// The same for operators to read, with the port where it is known.
pub(crate) fn shown(peer: &Peer, headers: &HeaderMap) -> String {
    let address = remote(peer, headers);
    if address == peer.address.ip() { peer.address.to_string() } else { address.to_string() }
}

/// What counts as one stranger: an address, or the /64 of an IPv6 address, because that is what one machine is given.
pub(crate) fn group(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address @ IpAddr::V4(_) => address,
    }
}

fn forwarded(headers: &HeaderMap) -> Option<IpAddr> {
    headers.get("x-forwarded-for")?.to_str().ok()?.split(',').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(address: &str) -> Peer {
        Peer::of(address.parse().unwrap())
    }

    #[test]
    fn a_proxy_is_believed_on_this_machine_alone() {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", "203.0.113.9, 10.0.0.1".parse().unwrap());
        assert_eq!(shown(&peer("127.0.0.1:5"), &headers), "203.0.113.9");
        assert_eq!(shown(&peer("198.51.100.7:5"), &headers), "198.51.100.7:5");
        assert_eq!(shown(&peer("127.0.0.1:5"), &HeaderMap::new()), "127.0.0.1:5");
    }

    #[test]
    fn one_machine_is_one_stranger_whatever_addresses_it_takes() {
        let of = |address: &str| group(address.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::7"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}
