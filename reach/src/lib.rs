//! What an address is good for.
//!
//! Whoever is told by a stranger where to connect (a plugin, the sender of a callback) asks here first. Looking names up and
//! dialing exactly an address that was judged is theirs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Who can be behind an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Anyone on the internet.
    Public,
    /// This machine, its network, or whoever a range is set aside for: only where the operator says so.
    Private,
    /// Nobody in particular: unspecified, multicast, broadcast. Connecting to `0.0.0.0` would reach this machine.
    Nobody,
}

impl Reach {
    /// By the special-purpose registries of IANA; what is not known to be public is private.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => of_v4(address),
            IpAddr::V6(address) => of_v6(address),
        }
    }

    /// Whether anyone on the internet can be behind it.
    pub fn is_public(self) -> bool {
        self == Self::Public
    }
}

fn of_v4(address: Ipv4Addr) -> Reach {
    match address.octets() {
        [0, ..] | [224..=239, ..] | [255, 255, 255, 255] => Reach::Nobody,
        // Private (RFC 1918), loopback, link-local.
        [10 | 127, ..] | [172, 16..=31, ..] | [192, 168, ..] | [169, 254, ..] => Reach::Private,
        // Shared by carriers (RFC 6598), protocol assignments, relays of 6to4, benchmarks, documentation, reserved.
        [100, 64..=127, ..]
        | [192, 0, 0 | 2, _]
        | [192, 88, 99, _]
        | [198, 18..=19, ..]
        | [198, 51, 100, _]
        | [203, 0, 113, _]
        | [240..=255, ..] => Reach::Private,
        _ => Reach::Public,
    }
}

fn of_v6(address: Ipv6Addr) -> Reach {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] | [0xff00..=0xffff, ..] => Reach::Nobody,
        // The well-known prefix of NAT64 and that of 6to4 are ways to an IPv4 address.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => of_v4(embedded(high, low)),
        [0x2002, high, low, ..] => of_v4(embedded(high, low)),
        // Protocol assignments with Teredo and benchmarks, documentation.
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Reach::Private,
        [0x2000..=0x3fff, ..] => Reach::Public,
        // Loopback, addresses that embed IPv4 in ways nobody uses any more, discard, unique-local, link-local,
        // site-local, and what nobody has assigned yet.
        _ => Reach::Private,
    }
}

fn embedded(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all_are(reach: Reach, addresses: &[&str]) {
        for text in addresses {
            assert_eq!(Reach::of(text.parse().unwrap()), reach, "{text}");
        }
    }

    #[test]
    fn public_addresses_are_public() {
        all_are(
            Reach::Public,
            &[
                "1.1.1.1",
                "8.8.8.8",
                "9.255.255.255",
                "11.0.0.0",
                "100.63.255.255",
                "100.128.0.0",
                "126.255.255.255",
                "128.0.0.0",
                "169.253.255.255",
                "172.15.255.255",
                "172.32.0.0",
                "192.0.1.1",
                "192.167.255.255",
                "192.169.0.0",
                "198.17.255.255",
                "198.20.0.0",
                "223.255.255.255",
                "2606:4700::1111",
                "2a00::1",
                "2001:4860:4860::8888",
                "64:ff9b::808:808",
                "2002:808:808::1",
                "::ffff:8.8.8.8",
            ],
        );
    }

    #[test]
    fn private_and_special_addresses_are_private() {
        all_are(
            Reach::Private,
            &[
                "10.0.0.0",
                "10.255.255.255",
                "127.0.0.1",
                "127.255.255.255",
                "169.254.169.254",
                "172.16.0.1",
                "172.31.255.255",
                "192.168.1.1",
                "100.64.0.1",
                "100.127.255.255",
                "192.0.0.8",
                "192.0.2.1",
                "192.88.99.1",
                "198.18.0.1",
                "198.19.255.255",
                "198.51.100.7",
                "203.0.113.9",
                "240.0.0.1",
                "255.255.255.254",
                "::1",
                "::ffff:127.0.0.1",
                "::ffff:10.0.0.1",
                "::127.0.0.1",
                "::7f00:1",
                "64:ff9b::10.0.0.1",
                "64:ff9b::7f00:1",
                "64:ff9b:1::1",
                "100::1",
                "2001::1",
                "2001:2::1",
                "2001:db8::1",
                "2002:7f00:1::",
                "2002:a00:1::1",
                "3fff::1",
                "5f00::1",
                "fc00::1",
                "fdff::1",
                "fe80::1",
                "fec0::1",
                "4000::1",
            ],
        );
    }

    #[test]
    fn nobody_is_behind_addresses_that_are_not_of_one_host() {
        all_are(
            Reach::Nobody,
            &[
                "0.0.0.0",
                "0.1.2.3",
                "224.0.0.1",
                "239.255.255.255",
                "255.255.255.255",
                "::",
                "::ffff:0.0.0.0",
                "ff02::1",
                "ffff::1",
                "64:ff9b::",
                "2002::1",
            ],
        );
    }

    proptest! {
        #[test]
        fn clothes_do_not_make_an_address_public(bits: u32) {
            let v4 = Ipv4Addr::from_bits(bits);
            let reach = Reach::of(v4.into());
            prop_assert_eq!(Reach::of(v4.to_ipv6_mapped().into()), reach);
            let [a, b, c, d] = v4.octets();
            let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
            prop_assert_eq!(Reach::of(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low).into()), reach);
            prop_assert_eq!(Reach::of(Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1).into()), reach);
            prop_assert_ne!(Reach::of(v4.to_ipv6_compatible().into()), Reach::Public);
        }

        // The standard library agrees wherever it has an opinion.
        #[test]
        fn what_the_standard_library_calls_special_is_not_public(bits: u32, wide: u128) {
            let v4 = Ipv4Addr::from_bits(bits);
            let special = v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_broadcast()
                || v4.is_documentation() || v4.is_multicast() || v4.is_unspecified();
            prop_assert!(!special || Reach::of(v4.into()) != Reach::Public);
            let v6 = Ipv6Addr::from_bits(wide);
            let special = v6.is_loopback() || v6.is_multicast() || v6.is_unspecified() || v6.is_unique_local()
                || v6.is_unicast_link_local();
            prop_assert!(!special || Reach::of(v6.into()) != Reach::Public);
        }
    }
}
