//! The hosts that the operator allows for a plugin.
//!
//! An entry is `host`, `*.host`, an address or a CIDR, each with or without `:port`; IPv6 with a port takes brackets. What
//! is listed by its very name or as an address may be private; below a `*` only public addresses are, because whoever
//! can make names there could otherwise point one at the operator's own network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use protocol::Invalid;

use crate::network::host::{Host, split_port};

/// What an entry looks like, for whoever made a mistake in one.
const FORMS: &str = "a host, \"*.host\", an address or a CIDR, with or without \":port\"";

/// The hosts that a plugin may reach. The default is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowlist {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    place: Place,
    /// Any when there is none.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// As [`Host::Name`] has it.
    Name(String),
    /// Every name below this one, at any depth, but not the name itself.
    Below(String),
    Addresses(Block),
}

/// How a name is in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listed {
    /// Itself, so that its addresses may be private.
    ByName,
    /// As one of many.
    ByPattern,
}

/// A block of addresses; a single address is the smallest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Block {
    /// The bits after the prefix are zero.
    first: IpAddr,
    prefix: u8,
}

impl Allowlist {
    /// Reads the entries. The mistake names the first that is none, as `[index]`.
    pub fn parse<'a>(entries: impl IntoIterator<Item = &'a str>) -> Result<Self, Invalid> {
        let numbered = entries.into_iter().enumerate();
        let parsed = numbered.map(|(index, text)| {
            Entry::parse(text).map_err(|expected| Invalid::new(format!("[{index}]"), expected))
        });
        Ok(Self { entries: parsed.collect::<Result<_, _>>()? })
    }

    /// This list and the other's entries.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.entries.extend(other.entries.iter().cloned());
        self
    }

    /// Whether a name is listed for a port, or with `None` for any.
    pub(crate) fn name(&self, name: &str, port: Option<u16>) -> Option<Listed> {
        let listed = self.entries.iter().filter(|entry| entry.has_port(port));
        listed.filter_map(|entry| entry.place.listed(name)).min_by_key(|listed| *listed == Listed::ByPattern)
    }

    /// Whether an address is listed for a port.
    pub(crate) fn address(&self, address: IpAddr, port: u16) -> bool {
        let address = address.to_canonical();
        self.entries.iter().any(|entry| {
            entry.has_port(Some(port))
                && matches!(&entry.place, Place::Addresses(block) if block.contains(address))
        })
    }
}

impl Entry {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let (place, port) = split_port(text).ok_or(FORMS)?;
        Ok(Self { place: Place::parse(place)?, port })
    }

    fn has_port(&self, port: Option<u16>) -> bool {
        match (self.port, port) {
            (Some(listed), Some(port)) => listed == port,
            (None, _) | (_, None) => true,
        }
    }
}

impl Place {
    fn parse(text: &str) -> Result<Self, &'static str> {
        if text.contains('/') {
            return Block::parse(text).map(Self::Addresses);
        }
        let (below, name) = match text.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, text),
        };
        match (below, Host::parse(name).ok_or(FORMS)?) {
            (true, Host::Name(name)) => Ok(Self::Below(name)),
            (false, Host::Name(name)) => Ok(Self::Name(name)),
            (false, Host::Address(address)) => Ok(Self::Addresses(Block::single(address))),
            (true, Host::Address(_)) => Err("a name after \"*.\""),
        }
    }

    fn listed(&self, name: &str) -> Option<Listed> {
        match self {
            Self::Name(listed) => (listed == name).then_some(Listed::ByName),
            Self::Below(parent) => {
                let label = name.strip_suffix(parent)?.strip_suffix('.')?;
                (!label.is_empty()).then_some(Listed::ByPattern)
            }
            Self::Addresses(_) => None,
        }
    }
}

impl Block {
    /// A CIDR. One of mapped addresses (`::ffff:10.0.0.0/104`) is that of the addresses themselves.
    fn parse(text: &str) -> Result<Self, &'static str> {
        let (address, prefix) = text.split_once('/').ok_or(FORMS)?;
        let address: IpAddr = address.parse().map_err(|_| "an address before the \"/\" of a CIDR")?;
        let block = Self::new(address, decimal(prefix).ok_or("a prefix length after the \"/\" of a CIDR")?);
        let block = block.ok_or("a prefix length that the address has")?;
        if block.first == address {
            Ok(block.canonical())
        } else {
            Err("a CIDR without bits after its prefix")
        }
    }

    fn single(address: IpAddr) -> Self {
        Self { first: address, prefix: width(address) }.canonical()
    }

    /// Nothing where the prefix is longer than the address.
    fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        let rest = width(address).checked_sub(prefix)?;
        Some(Self { first: without_low_bits(address, rest), prefix })
    }

    fn canonical(self) -> Self {
        match (self.first.to_canonical(), self.prefix.checked_sub(96)) {
            (first @ IpAddr::V4(_), Some(prefix)) if self.first.is_ipv6() => Self { first, prefix },
            _ => self,
        }
    }

    fn contains(self, address: IpAddr) -> bool {
        address.is_ipv4() == self.first.is_ipv4() && Self::new(address, self.prefix) == Some(self)
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn without_low_bits(address: IpAddr, count: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(count.into()).unwrap_or(0);
            Ipv4Addr::from_bits(v4.to_bits() & mask).into()
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(count.into()).unwrap_or(0);
            Ipv6Addr::from_bits(v6.to_bits() & mask).into()
        }
    }
}

/// Digits only: `parse` takes a sign, too.
fn decimal(text: &str) -> Option<u8> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list(entries: &[&str]) -> Allowlist {
        Allowlist::parse(entries.iter().copied()).unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn nothing_is_listed_by_default() {
        assert_eq!(Allowlist::default().name("localhost", None), None);
        assert!(!Allowlist::default().address(ip("1.1.1.1"), 443));
    }

    #[test]
    fn a_name_is_listed_for_its_port_alone_or_for_all() {
        let allow = list(&["db.example.com:5432", "api.example.com"]);
        assert_eq!(allow.name("db.example.com", Some(5432)), Some(Listed::ByName));
        assert_eq!(allow.name("db.example.com", Some(5433)), None);
        assert_eq!(allow.name("db.example.com", None), Some(Listed::ByName));
        assert_eq!(allow.name("api.example.com", Some(1)), Some(Listed::ByName));
        assert_eq!(allow.name("example.com", None), None);
        assert_eq!(allow.name("x.db.example.com", None), None);
    }

    #[test]
    fn a_star_stands_for_one_or_more_labels_and_never_for_none() {
        let allow = list(&["*.example.com:443"]);
        assert_eq!(allow.name("a.example.com", Some(443)), Some(Listed::ByPattern));
        assert_eq!(allow.name("a.b.example.com", Some(443)), Some(Listed::ByPattern));
        for name in ["example.com", ".example.com", "evilexample.com", "a.example.com.evil.org"] {
            assert_eq!(allow.name(name, Some(443)), None, "{name}");
        }
    }

    #[test]
    fn the_very_name_counts_more_than_a_pattern() {
        let allow = list(&["*.example.com", "db.example.com"]);
        assert_eq!(allow.name("db.example.com", Some(1)), Some(Listed::ByName));
    }

    #[test]
    fn names_are_compared_as_dns_compares_them() {
        let allow = list(&["DB.Example.COM.", "bücher.example", "*.Straße.example:1"]);
        assert_eq!(allow.name("db.example.com", None), Some(Listed::ByName));
        assert_eq!(allow.name("xn--bcher-kva.example", None), Some(Listed::ByName));
        assert_eq!(allow.name("a.xn--strae-oqa.example", None), Some(Listed::ByPattern));
    }

    #[test]
    fn addresses_are_listed_one_by_one_or_in_blocks() {
        let allow = list(&["10.0.0.5:9200", "192.168.0.0/16:5432", "fd00::/8", "[2001:db8::1]:53", "::1"]);
        assert!(allow.address(ip("10.0.0.5"), 9200));
        assert!(!allow.address(ip("10.0.0.5"), 9201));
        assert!(!allow.address(ip("10.0.0.6"), 9200));
        assert!(allow.address(ip("192.168.255.1"), 5432));
        assert!(!allow.address(ip("192.169.0.1"), 5432));
        assert!(allow.address(ip("fdff::1"), 1));
        assert!(!allow.address(ip("fe00::1"), 1));
        assert!(allow.address(ip("2001:db8::1"), 53));
        assert!(!allow.address(ip("2001:db8::1"), 54));
        assert!(allow.address(ip("::1"), 80));
        assert!(!allow.address(ip("127.0.0.1"), 80));
    }

    #[test]
    fn a_mapped_address_is_the_address_itself() {
        let allow = list(&["::ffff:10.0.0.5", "::ffff:192.168.0.0/112"]);
        assert_eq!(allow, list(&["10.0.0.5", "192.168.0.0/16"]));
        assert!(allow.address(ip("::ffff:10.0.0.5"), 1));
        assert!(allow.address(ip("::ffff:192.168.3.4"), 1));
        // A block of IPv6 that is larger than the mapped addresses has none of IPv4.
        assert!(!list(&["::/0"]).address(ip("10.0.0.5"), 1));
    }

    #[test]
    fn a_block_of_everything_is_everything() {
        let allow = list(&["0.0.0.0/0:443", "::/0"]);
        assert!(allow.address(ip("127.0.0.1"), 443));
        assert!(!allow.address(ip("127.0.0.1"), 80));
        assert!(allow.address(ip("ff02::1"), 80));
    }

    #[test]
    fn what_is_no_entry_is_named() {
        let wrong = [
            "",
            " ",
            ":443",
            "*",
            "*:443",
            "*.",
            "*.*.example.com",
            "a.*.example.com",
            "*.10.0.0.1",
            "*example.com",
            "host:",
            "host:0",
            "host:65536",
            "host:+1",
            "host:1:2",
            "host :1",
            "http://host",
            "host/",
            "user@host",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "10.0.0.0/",
            "10.0.0.5/8",
            "host/8",
            "fd00::/129",
            "[::1",
            "[::1]x",
            "[host]",
            "0x7f.1",
            "127.1",
            "2130706433",
            "010.0.0.1",
            "１２７.0.0.1",
            "1.2.3.4.5",
            "fe80::1%eth0",
            "a..b",
            "a_\0b",
        ];
        for text in wrong {
            let mistake = Allowlist::parse(["ok.example", text]).unwrap_err();
            assert_eq!(mistake.field, "[1]", "{text}");
        }
    }

    #[test]
    fn two_lists_allow_what_either_allows() {
        let both = list(&["a"]).and(&list(&["b"]));
        assert!(both.name("a", None).is_some() && both.name("b", None).is_some());
    }

    proptest! {
        #[test]
        fn a_block_holds_what_agrees_in_the_prefix(first: u32, other: u32, prefix in 0_u8..=32) {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            let block = format!("{}/{prefix}", Ipv4Addr::from_bits(first & mask));
            let held = list(&[&block]).address(Ipv4Addr::from_bits(other).into(), 1);
            prop_assert_eq!(held, first & mask == other & mask);
        }

        #[test]
        fn a_block_of_ipv6_holds_what_agrees_in_the_prefix(first: u128, flipped in 0_u32..128, prefix in 0_u8..=128) {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            let other = first ^ (1 << (127 - flipped));
            let block = format!("{}/{prefix}", Ipv6Addr::from_bits(first & mask));
            let held = list(&[&block]).address(Ipv6Addr::from_bits(other).into(), 1);
            prop_assert_eq!(held, flipped >= u32::from(prefix));
        }

        #[test]
        fn whatever_is_written_is_read_or_refused(text in "\\PC{0,40}") {
            if let Ok(allow) = Allowlist::parse([text.as_str()]) {
                prop_assert!(!allow.entries.is_empty());
            }
        }

        #[test]
        fn no_name_outside_the_zone_matches_a_pattern(name in "[a-z0-9.-]{1,30}") {
            let allow = list(&["*.example.com"]);
            prop_assert_eq!(allow.name(&name, None).is_some(), name.ends_with(".example.com") && name.len() > 12);
        }
    }
}
