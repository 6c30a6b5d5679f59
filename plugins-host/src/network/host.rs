//! Hosts as they are written, and the endpoint that a source's own settings name.
//!
//! A host is parsed once, at the edge, into a name in its one spelling or an address. Spellings of addresses that some
//! libraries take and others take for names (`127.1`, `0x7f.0.0.1`, `2130706433`) are neither.

use std::fmt;
use std::net::IpAddr;

use url::Url;

/// A name of DNS is not longer, nor is a label of it (RFC 1035, 2.3.4).
const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

/// A host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Host {
    /// In lower case, ASCII, without the dot of the root.
    Name(String),
    /// Never an IPv4 address in IPv6 clothes.
    Address(IpAddr),
}

/// Where a source's own settings say that its database is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) host: Host,
    /// Any when there is none.
    pub(crate) port: Option<u16>,
}

impl Host {
    /// A name or an address; IPv6 with or without brackets, no zone. Nothing when it is neither.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if let Some(bare) = bare {
            return bare.parse().ok().filter(IpAddr::is_ipv6).map(Self::of_address);
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Some(Self::of_address(address));
        }
        // The parser of URLs would undo the escapes.
        if text.contains(['%', '[', ']', '*']) {
            return None;
        }
        match url::Host::parse(text) {
            Ok(url::Host::Domain(name)) => Self::of_name(&name),
            // An address was read above if it is one in everybody's eyes.
            Ok(url::Host::Ipv4(_) | url::Host::Ipv6(_)) | Err(_) => None,
        }
    }

    /// The host of a URL, whose parser has read odd spellings of addresses as addresses.
    pub(crate) fn of_url(url: &Url) -> Option<Self> {
        match url.host()? {
            url::Host::Domain(name) => Self::parse(name),
            url::Host::Ipv4(address) => Some(Self::of_address(address.into())),
            url::Host::Ipv6(address) => Some(Self::of_address(address.into())),
        }
    }

    fn of_address(address: IpAddr) -> Self {
        Self::Address(address.to_canonical())
    }

    fn of_name(name: &str) -> Option<Self> {
        let name = name.strip_suffix('.').unwrap_or(name);
        let labels_fit =
            name.split('.').all(|label| (1..=MAX_LABEL).contains(&label.len()) && is_plain(label));
        (labels_fit && name.len() <= MAX_NAME).then(|| Self::Name(name.to_owned()))
    }
}

/// Letters, digits and hyphens (RFC 952, RFC 1123 2.1), and the underscore that names of services begin with (RFC 8552).
/// The parser of URLs also leaves `*` and other signs where their wide or small forms stood.
fn is_plain(label: &str) -> bool {
    label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// As it stands before a `:port`.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

impl Endpoint {
    /// What a setting names: a URL, or a host with an optional `:port`. `port` is for those without one; a URL of a
    /// well-known scheme has one. Nothing when it names no host.
    pub(crate) fn parse(value: &str, port: Option<u16>) -> Option<Self> {
        if value.contains("://") {
            let url = Url::parse(value).ok()?;
            // Schemes of databases are not special to the parser, which leaves their hosts as they were written.
            let host = match url.host()? {
                url::Host::Domain(name) => Host::parse(name)?,
                url::Host::Ipv4(_) | url::Host::Ipv6(_) => Host::of_url(&url)?,
            };
            return Some(Self { host, port: url.port_or_known_default().or(port) });
        }
        let (host, own) = split_port(value)?;
        Some(Self { host: Host::parse(host)?, port: own.or(port) })
    }

    /// Whether this is the endpoint, for a port or with `None` for any.
    pub(crate) fn is(&self, host: &Host, port: Option<u16>) -> bool {
        let same_port = match (self.port, port) {
            (Some(own), Some(port)) => own == port,
            (None, _) | (_, None) => true,
        };
        same_port && self.host == *host
    }
}

/// As an entry of an allowlist.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => self.host.fmt(f),
        }
    }
}

/// `host` and the port of `host:port`, `[v6]:port` or `cidr:port`, if there is one. Nothing when the port is none.
pub(crate) fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    if let Some(end) = text.starts_with('[').then(|| text.find(']')).flatten() {
        let (host, rest) = text.split_at_checked(end.checked_add(1)?)?;
        return match rest.strip_prefix(':') {
            Some(port) => Some((host, Some(port_of(port)?))),
            None => rest.is_empty().then_some((host, None)),
        };
    }
    match text.split_once(':') {
        // With more than one colon it is IPv6, which has no port without brackets.
        Some((host, port)) if !port.contains(':') => Some((host, Some(port_of(port)?))),
        _ => Some((text, None)),
    }
}

/// 1 to 65535, in digits.
fn port_of(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port != 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> Option<Host> {
        Some(Host::Name(text.to_owned()))
    }

    fn address(text: &str) -> Option<Host> {
        Some(Host::Address(text.parse().unwrap()))
    }

    #[test]
    fn names_have_one_spelling() {
        assert_eq!(Host::parse("db"), name("db"));
        assert_eq!(Host::parse("DB.Example.com."), name("db.example.com"));
        assert_eq!(Host::parse("bücher.example"), name("xn--bcher-kva.example"));
        assert_eq!(Host::parse("BÜCHER.example"), name("xn--bcher-kva.example"));
        assert_eq!(Host::parse("ｅｘａｍｐｌｅ.com"), name("example.com"));
        assert_eq!(Host::parse("_srv.example.com"), name("_srv.example.com"));
    }

    #[test]
    fn addresses_are_canonical() {
        assert_eq!(Host::parse("10.0.0.5"), address("10.0.0.5"));
        assert_eq!(Host::parse("::1"), address("::1"));
        assert_eq!(Host::parse("[0:0::1]"), address("::1"));
        assert_eq!(Host::parse("::ffff:127.0.0.1"), address("127.0.0.1"));
        assert_eq!(Host::parse("[::ffff:7f00:1]"), address("127.0.0.1"));
    }

    #[test]
    fn an_endpoint_is_written_as_an_allowlist_takes_it() {
        for (setting, entry) in [
            ("https://Api.example.com/v1", "api.example.com:443"),
            ("db.example.com", "db.example.com"),
            ("http://[::1]:8080/", "[::1]:8080"),
            ("[fd00::5]", "[fd00::5]"),
        ] {
            let endpoint = Endpoint::parse(setting, None).unwrap();
            assert_eq!(endpoint.to_string(), entry);
            crate::allow::Allowlist::parse([entry]).unwrap();
        }
    }

    #[test]
    fn odd_spellings_of_addresses_are_no_hosts() {
        let odd = [
            "127.1",
            "127.0.1",
            "0x7f.1",
            "0x7f000001",
            "0x7f.0x0.0x0.0x1",
            "2130706433",
            "017700000001",
            "0177.0.0.1",
            "127.0.0.01",
            "127.0.0.1.",
            "256.0.0.1",
            "1.2.3.4.5",
            "99999999999",
            "0x",
            "１２７.0.0.1",
            "127。0。0。1",
            "①②⑦.0.0.1",
            "a.0x1",
            "%31%32%37.0.0.1",
            "[127.0.0.1]",
            "fe80::1%1",
            "[fe80::1%251]",
        ];
        for text in odd {
            assert_eq!(Host::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        let long = format!("{}.example", "a".repeat(64));
        let longer = "abcdefgh.".repeat(29);
        let wrong = [
            "",
            ".",
            "..",
            "a..b",
            ".a",
            "a b",
            "a\r\nb",
            "a\0b",
            "a/b",
            "a:1",
            "a@b",
            "a#b",
            "a?b",
            "a\\b",
            "a%2eb",
            "*.a",
            "\u{fe61}.a",
            "\u{ff0a}.a",
            "a!b",
            "a&b",
            "{a}",
            "[a]",
            "[",
            "]",
            "xn--a.",
            "\u{202e}a",
            &long,
            &longer,
        ];
        for text in wrong {
            assert_eq!(Host::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_url_has_the_host_that_is_connected_to() {
        let host = |text: &str| Host::of_url(&Url::parse(text).unwrap());
        assert_eq!(host("http://2130706433/"), address("127.0.0.1"));
        assert_eq!(host("http://0x7f.1/"), address("127.0.0.1"));
        assert_eq!(host("http://[::ffff:10.0.0.1]/"), address("10.0.0.1"));
        assert_eq!(host("http://Example.com./x"), name("example.com"));
        assert_eq!(host("http://allowed.example\\@evil.example/"), name("allowed.example"));
    }

    #[test]
    fn an_endpoint_is_a_url_or_a_host() {
        let endpoint = |value: &str, port| Endpoint::parse(value, port).map(|e| (e.host.to_string(), e.port));
        let is = |host: &str, port| Some((host.to_owned(), port));
        assert_eq!(endpoint("https://es.example:9200/x?y", None), is("es.example", Some(9200)));
        assert_eq!(endpoint("https://user:secret@es.example", Some(1)), is("es.example", Some(443)));
        assert_eq!(endpoint("acme://DB.example", Some(1)), is("db.example", Some(1)));
        assert_eq!(endpoint("acme://10.0.0.5", None), is("10.0.0.5", None));
        assert_eq!(endpoint("acme://[::1]:7", None), is("[::1]", Some(7)));
        assert_eq!(endpoint("db.example", Some(5432)), is("db.example", Some(5432)));
        assert_eq!(endpoint("db.example:1", Some(5432)), is("db.example", Some(1)));
        assert_eq!(endpoint("::1", Some(5432)), is("[::1]", Some(5432)));
        assert_eq!(endpoint("[::1]:5", None), is("[::1]", Some(5)));
        for value in
            ["", "http://", "file:///etc/passwd", "acme://0x7f.1", "db:0", "db:x", "a b", "/var/run/x.sock"]
        {
            assert_eq!(endpoint(value, Some(1)), None, "{value}");
        }
    }

    #[test]
    fn an_endpoint_is_for_its_port() {
        let endpoint = Endpoint::parse("db:1", None).unwrap();
        let db = Host::parse("db").unwrap();
        assert!(endpoint.is(&db, Some(1)) && endpoint.is(&db, None));
        assert!(!endpoint.is(&db, Some(2)));
        assert!(Endpoint::parse("db", None).unwrap().is(&db, Some(2)));
    }

    proptest! {
        // What the C library would take for an address never reaches it as a name.
        #[test]
        fn a_name_never_ends_in_a_number(text in "[0-9a-fxX.]{1,20}") {
            if let Some(Host::Name(name)) = Host::parse(&text) {
                let last = name.rsplit('.').next().unwrap();
                let hex = last.strip_prefix("0x").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_hexdigit()));
                prop_assert!(!hex && !last.bytes().all(|b| b.is_ascii_digit()), "{}", name);
            }
        }

        #[test]
        fn parsing_again_changes_nothing(text in "\\PC{0,30}") {
            if let Some(host) = Host::parse(&text) {
                prop_assert_eq!(Host::parse(&host.to_string()), Some(host));
            }
        }
    }
}
