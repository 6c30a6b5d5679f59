//! May a plugin connect there? Decided twice: by name and port before anything is looked up, so that not even a lookup
//! tells anybody anything, and by address for each address that was found.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use reach::Reach;

use super::host::{Endpoint, Host};
use crate::allow::{Allowlist, Listed};

/// Refusals of a plugin that are logged in one [`PERIOD`]; the others are counted.
const TOLD: u32 = 10;
const PERIOD: Duration = Duration::from_secs(60);

/// What is known before DNS is asked.
#[derive(Clone, Copy)]
pub(crate) struct Policy<'a> {
    pub(crate) allow: &'a Allowlist,
    pub(crate) endpoints: &'a [Endpoint],
}

/// How far a host is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// The operator listed it: it may be anywhere.
    Anywhere,
    /// Its addresses must be public or listed themselves.
    Public,
}

/// Why a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Neither the operator's list nor the source's settings have the host with this port.
    Unlisted,
    /// The host would be allowed if this address were not private.
    Private(IpAddr),
    /// Nobody can be connected to there.
    Nobody(IpAddr),
    /// The guest comes with sockets of its own, which the operator has not granted.
    NoSockets,
}

impl Policy<'_> {
    /// Whether a host may be looked up and connected to, as far as it is known by its name. Without a port: for any.
    pub(crate) fn host(self, host: &Host, port: Option<u16>) -> Result<Trust, Refusal> {
        let own = self.endpoints.iter().any(|endpoint| endpoint.is(host, port));
        let listed = match host {
            Host::Name(name) => self.allow.name(name, port),
            // Looked up, an address is itself, and its port is seen when it is connected to.
            Host::Address(_) if port.is_none() => Some(Listed::ByPattern),
            Host::Address(address) => {
                port.filter(|port| self.allow.address(*address, *port)).map(|_| Listed::ByName)
            }
        };
        match listed {
            Some(Listed::ByName) => Ok(Trust::Anywhere),
            Some(Listed::ByPattern) => Ok(Trust::Public),
            None if own => Ok(Trust::Public),
            None => Err(Refusal::Unlisted),
        }
    }

    /// Whether an address of such a host may be connected to.
    pub(crate) fn address(self, trust: Trust, address: IpAddr, port: u16) -> Result<(), Refusal> {
        match (Reach::of(address), trust) {
            (Reach::Nobody, _) => Err(Refusal::Nobody(address)),
            (Reach::Public, _) | (Reach::Private, Trust::Anywhere) => Ok(()),
            (Reach::Private, Trust::Public) if self.allow.address(address, port) => Ok(()),
            (Reach::Private, Trust::Public) => Err(Refusal::Private(address)),
        }
    }
}

impl Refusal {
    /// What happened and what the operator would write to allow it.
    fn mend(self, plugin: &str, host: &Host, port: Option<u16>) -> String {
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        let place = format!("{host}{port}");
        match self {
            Self::Unlisted => format!("{place} is not in plugins.\"{plugin}\".allow"),
            Self::Private(address) if Host::Address(address) == *host => {
                format!("{place} is private and not in plugins.\"{plugin}\".allow")
            }
            Self::Private(address) => {
                let address = Host::Address(address);
                format!(
                    "{place} has the private address {address}, and neither \"{place}\" nor \"{address}{port}\" is in \
                     plugins.\"{plugin}\".allow"
                )
            }
            Self::Nobody(address) => format!("{place} has the address {address}, which is that of no host"),
            Self::NoSockets => {
                format!("{place} is looked up for wasi:sockets, and plugins.\"{plugin}\".sockets is not true")
            }
        }
    }
}

/// Keeps a plugin that tries again and again from filling the log.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<Option<Told>>);

#[derive(Debug)]
struct Told {
    since: Instant,
    count: u32,
}

impl Refusals {
    /// Writes that a connection was refused, and what would allow it.
    pub(crate) fn tell(&self, plugin: &str, host: &Host, port: Option<u16>, refusal: Refusal) {
        if let Some(left_out) = self.turn(Instant::now()) {
            let mend = refusal.mend(plugin, host, port);
            tracing::warn!(plugin, left_out, "a plugin may not connect: {mend}");
        }
    }

    /// How many were left out since the last that was told; nothing when this one is to be left out.
    fn turn(&self, now: Instant) -> Option<u32> {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (left_out, fresh) = match told.as_ref() {
            Some(told) if now.saturating_duration_since(told.since) < PERIOD => (0, false),
            Some(old) => (old.count.saturating_sub(TOLD), true),
            None => (0, true),
        };
        let current = if fresh { told.insert(Told { since: now, count: 0 }) } else { told.as_mut()? };
        current.count = current.count.saturating_add(1);
        (current.count <= TOLD).then_some(left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn host(text: &str) -> Host {
        Host::parse(text).unwrap()
    }

    struct World {
        allow: Allowlist,
        endpoints: Vec<Endpoint>,
    }

    impl World {
        fn new(allow: &[&str], endpoints: &[&str]) -> Self {
            Self {
                allow: Allowlist::parse(allow.iter().copied()).unwrap(),
                endpoints: endpoints.iter().map(|text| Endpoint::parse(text, None).unwrap()).collect(),
            }
        }

        fn host(&self, text: &str, port: u16) -> Result<Trust, Refusal> {
            self.policy().host(&host(text), Some(port))
        }

        fn policy(&self) -> Policy<'_> {
            Policy { allow: &self.allow, endpoints: &self.endpoints }
        }
    }

    #[test]
    fn without_a_list_and_an_endpoint_nothing_is_allowed() {
        let world = World::new(&[], &[]);
        for text in ["example.com", "localhost", "1.1.1.1", "127.0.0.1", "::1"] {
            assert_eq!(world.host(text, 443), Err(Refusal::Unlisted), "{text}");
        }
    }

    #[test]
    fn a_name_that_is_listed_may_be_anywhere() {
        let world = World::new(&["db.internal:5432"], &[]);
        assert_eq!(world.host("db.internal", 5432), Ok(Trust::Anywhere));
        for address in ["10.0.0.5", "127.0.0.1", "169.254.169.254", "8.8.8.8"] {
            assert_eq!(world.policy().address(Trust::Anywhere, ip(address), 5432), Ok(()), "{address}");
        }
    }

    #[test]
    fn a_name_below_a_pattern_and_the_own_endpoint_must_be_public() {
        let world = World::new(&["*.example.com"], &["es.example.org:9200"]);
        assert_eq!(world.host("a.example.com", 1), Ok(Trust::Public));
        assert_eq!(world.host("es.example.org", 9200), Ok(Trust::Public));
        assert_eq!(world.host("es.example.org", 22), Err(Refusal::Unlisted));
        let check = |address: &str| world.policy().address(Trust::Public, ip(address), 9200);
        assert_eq!(check("8.8.8.8"), Ok(()));
        for address in
            ["10.0.0.5", "127.0.0.1", "::1", "169.254.169.254", "100.64.0.1", "fd00::1", "::ffff:10.0.0.1"]
        {
            assert_eq!(check(address), Err(Refusal::Private(ip(address))), "{address}");
        }
    }

    #[test]
    fn a_private_address_is_allowed_where_it_is_listed_itself() {
        let world = World::new(&["10.0.0.0/8:9200"], &["es.internal:9200", "10.0.0.5:9300"]);
        assert_eq!(world.host("es.internal", 9200), Ok(Trust::Public));
        assert_eq!(world.policy().address(Trust::Public, ip("10.1.2.3"), 9200), Ok(()));
        assert!(world.policy().address(Trust::Public, ip("192.168.1.1"), 9200).is_err());
        assert_eq!(world.host("10.9.9.9", 9200), Ok(Trust::Anywhere));
        // The source's own settings name it, and that is not enough.
        assert_eq!(world.host("10.0.0.5", 9300), Ok(Trust::Public));
        assert!(world.policy().address(Trust::Public, ip("10.0.0.5"), 9300).is_err());
    }

    #[test]
    fn a_name_is_not_allowed_because_it_could_have_an_address_that_is() {
        let world = World::new(&["10.0.0.0/8"], &[]);
        assert_eq!(world.host("leak.evil.example", 443), Err(Refusal::Unlisted));
    }

    #[test]
    fn nobody_is_nowhere_even_when_listed() {
        let world = World::new(&["0.0.0.0/0", "::/0", "zero.example"], &[]);
        for address in ["0.0.0.0", "224.0.0.1", "255.255.255.255", "::", "ff02::1"] {
            let refused = world.policy().address(Trust::Anywhere, ip(address), 80);
            assert_eq!(refused, Err(Refusal::Nobody(ip(address))), "{address}");
        }
    }

    #[test]
    fn without_a_port_a_name_is_allowed_when_any_port_of_it_is() {
        let world = World::new(&["db.internal:5432"], &["es.example:9200"]);
        assert_eq!(world.policy().host(&host("db.internal"), None), Ok(Trust::Anywhere));
        assert_eq!(world.policy().host(&host("es.example"), None), Ok(Trust::Public));
        assert_eq!(world.policy().host(&host("other.example"), None), Err(Refusal::Unlisted));
    }

    #[test]
    fn a_refusal_says_what_would_allow_it() {
        let mend = |refusal: Refusal, text: &str, port| refusal.mend("@acme/things", &host(text), port);
        assert_eq!(
            mend(Refusal::Unlisted, "db.example", Some(5432)),
            "db.example:5432 is not in plugins.\"@acme/things\".allow"
        );
        assert_eq!(
            mend(Refusal::Private(ip("fd00::1")), "fd00::1", Some(80)),
            "[fd00::1]:80 is private and not in plugins.\"@acme/things\".allow"
        );
        assert_eq!(
            mend(Refusal::Private(ip("10.0.0.5")), "db.example", Some(5432)),
            "db.example:5432 has the private address 10.0.0.5, and neither \"db.example:5432\" nor \
             \"10.0.0.5:5432\" is in plugins.\"@acme/things\".allow"
        );
        assert_eq!(
            mend(Refusal::NoSockets, "db.example", None),
            "db.example is looked up for wasi:sockets, and plugins.\"@acme/things\".sockets is not true"
        );
    }

    #[test]
    fn a_flood_of_refusals_is_told_in_part_and_counted() {
        let refusals = Refusals::default();
        let start = Instant::now();
        let told = (0..100).filter(|_| refusals.turn(start).is_some()).count();
        assert_eq!(told, 10);
        assert_eq!(refusals.turn(start + PERIOD), Some(90));
        assert_eq!(refusals.turn(start + PERIOD), Some(0));
    }
}
