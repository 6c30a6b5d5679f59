//! Which proxy a URL goes through: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`.
//!
//! Names are looked up in lower case first, as curl does. `HTTPS_PROXY` is for `https` and `wss`, `HTTP_PROXY` for
//! `http` and `ws`, `ALL_PROXY` for what has none of its own.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use protocol::Secret;
use url::{Host, Url};

use crate::settings::{Key, Reader};

/// The proxies of a daemon.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    secure: Option<Proxy>,
    plain: Option<Proxy>,
    except: Vec<Exception>,
}

/// One proxy that speaks CONNECT, over plain TCP or over TLS.
#[derive(Clone)]
pub struct Proxy {
    host: Host<String>,
    port: u16,
    secure: bool,
    authorization: Option<Secret>,
}

/// What is dialed directly: one entry of `NO_PROXY`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Exception {
    Everything,
    Address(IpAddr, Option<u16>),
    /// A domain and all below it, in lower case without the leading dot.
    Domain(String, Option<u16>),
}

impl Proxies {
    /// No proxies: everything is dialed directly.
    pub fn none() -> Self {
        Self::default()
    }

    /// Reads the environment's proxies. A proxy URL that is not understood is a mistake.
    pub fn load(reader: &mut Reader<'_>) -> Self {
        let all = read_proxy(reader, "ALL_PROXY");
        let secure = read_proxy(reader, "HTTPS_PROXY").or_else(|| all.clone());
        let plain = read_proxy(reader, "HTTP_PROXY").or(all);
        let except = reader.text(either_case("NO_PROXY")).as_deref().map(exceptions).unwrap_or_default();
        Self { secure, plain, except }
    }

    /// The same, with the host of `url` dialed directly.
    #[must_use]
    pub fn passing_by(mut self, url: &Url) -> Self {
        self.except.extend(url.host().map(|host| match host {
            Host::Domain(name) => Exception::Domain(name.to_ascii_lowercase(), url.port()),
            Host::Ipv4(address) => Exception::Address(address.into(), url.port()),
            Host::Ipv6(address) => Exception::Address(address.into(), url.port()),
        }));
        self
    }

    /// The proxy that `url` goes through; `None` if it is dialed directly.
    pub fn for_url(&self, url: &Url) -> Option<&Proxy> {
        let secure = super::is_secure(url.scheme())?;
        let proxy = if secure { self.secure.as_ref() } else { self.plain.as_ref() }?;
        let host = url.host()?.to_owned();
        let port = url.port().unwrap_or(if secure { 443 } else { 80 });
        if self.except.iter().any(|exception| exception.covers(&host, port)) { None } else { Some(proxy) }
    }
}

impl Proxy {
    /// Host and port, without credentials.
    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    pub(super) fn host(&self) -> &Host<String> {
        &self.host
    }

    pub(super) fn name(&self) -> String {
        super::host_name(&self.host)
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn is_secure(&self) -> bool {
        self.secure
    }

    /// The value of `Proxy-Authorization`.
    pub(super) fn authorization(&self) -> Option<&Secret> {
        self.authorization.as_ref()
    }
}

/// What is wrong with a proxy's URL; the setting's mistake says the rest.
#[derive(Debug)]
pub struct NotAProxy;

impl FromStr for Proxy {
    type Err = NotAProxy;

    /// Reads `http://user:password@host:port`, the same with `https`, or `host:port` alone. Without a port it is that
    /// of the scheme.
    fn from_str(text: &str) -> Result<Self, NotAProxy> {
        let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let url = Url::parse(&with_scheme).map_err(|_| NotAProxy)?;
        let secure = match url.scheme() {
            "http" => false,
            "https" => true,
            _ => return Err(NotAProxy),
        };
        let host = url.host().ok_or(NotAProxy)?.to_owned();
        let port = url.port_or_known_default().ok_or(NotAProxy)?;
        Ok(Self { host, port, secure, authorization: basic(&url) })
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("address", &self.address()).finish_non_exhaustive()
    }
}

impl Exception {
    fn covers(&self, host: &Host<String>, port: u16) -> bool {
        let same_port = |own: &Option<u16>| own.is_none_or(|own| own == port);
        match self {
            Self::Everything => true,
            Self::Address(address, own) => address_of(host) == Some(*address) && same_port(own),
            Self::Domain(domain, own) => {
                matches!(host, Host::Domain(name) if is_within(name, domain)) && same_port(own)
            }
        }
    }
}

fn address_of(host: &Host<String>) -> Option<IpAddr> {
    match host {
        Host::Ipv4(address) => Some(IpAddr::V4(*address)),
        Host::Ipv6(address) => Some(IpAddr::V6(*address)),
        Host::Domain(_) => None,
    }
}

fn is_within(name: &str, domain: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn read_proxy(reader: &mut Reader<'_>, name: &str) -> Option<Proxy> {
    reader.parsed(either_case(name), "an http or https proxy URL such as http://proxy:3128")
}

fn either_case(name: &str) -> Key {
    Key::env(name.to_ascii_lowercase()).or_env(name)
}

fn basic(url: &Url) -> Option<Secret> {
    let password = url.password();
    if url.username().is_empty() && password.is_none() {
        return None;
    }
    let mut credentials: Vec<u8> = percent_decode_str(url.username()).collect();
    credentials.push(b':');
    credentials.extend(percent_decode_str(password.unwrap_or_default()));
    Some(Secret::new(format!("Basic {}", STANDARD.encode(credentials))))
}

/// Reads `NO_PROXY`: entries between commas or blanks; `*` is everything. What cannot match anything is left out, as
/// every other reader of this variable does.
fn exceptions(text: &str) -> Vec<Exception> {
    text.split([',', ' ', '\t']).filter(|entry| !entry.is_empty()).map(exception).collect()
}

fn exception(entry: &str) -> Exception {
    if entry == "*" {
        return Exception::Everything;
    }
    let (host, port) = split_port(entry);
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse() {
        Ok(address) => Exception::Address(address, port),
        Err(_) => {
            let domain = bare.trim_start_matches("*.").trim_start_matches('.').trim_end_matches('.');
            Exception::Domain(domain.to_ascii_lowercase(), port)
        }
    }
}

/// Splits `host:port`; an IPv6 address without brackets has no port.
fn split_port(entry: &str) -> (&str, Option<u16>) {
    if entry.parse::<IpAddr>().is_ok() {
        return (entry, None);
    }
    match entry.rsplit_once(':').map(|(host, port)| (host, port.parse())) {
        Some((host, Ok(port))) => (host, Some(port)),
        _ => (entry, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Mapping;

    fn load<const N: usize>(pairs: [(&str, &str); N]) -> Proxies {
        let source: Mapping = pairs.into_iter().collect();
        let mut reader = Reader::new(&source);
        let proxies = Proxies::load(&mut reader);
        reader.finish().unwrap();
        proxies
    }

    fn route(proxies: &Proxies, url: &str) -> Option<String> {
        proxies.for_url(&Url::parse(url).unwrap()).map(Proxy::address)
    }

    #[test]
    fn each_scheme_has_its_proxy_and_all_proxy_fills_the_gap() {
        let proxies = load([("HTTPS_PROXY", "http://secure:1"), ("ALL_PROXY", "http://all:2")]);
        assert_eq!(route(&proxies, "wss://gateway.example/connect").as_deref(), Some("secure:1"));
        assert_eq!(route(&proxies, "https://gateway.example").as_deref(), Some("secure:1"));
        assert_eq!(route(&proxies, "ws://gateway.example").as_deref(), Some("all:2"));
        assert_eq!(route(&proxies, "ftp://gateway.example"), None);
    }

    #[test]
    fn the_lower_case_name_wins() {
        let proxies = load([("HTTPS_PROXY", "http://upper:1"), ("https_proxy", "http://lower:1")]);
        assert_eq!(route(&proxies, "wss://gateway.example").as_deref(), Some("lower:1"));
    }

    #[test]
    fn one_host_can_be_taken_out() {
        for here in ["ws://127.0.0.1:8787/connect", "ws://localhost:8787/connect", "ws://[::1]/connect"] {
            let proxies = load([("ALL_PROXY", "http://all:2")]).passing_by(&Url::parse(here).unwrap());
            assert_eq!(route(&proxies, here), None, "{here}");
            assert_eq!(route(&proxies, "ws://gateway.example:8787/").as_deref(), Some("all:2"));
        }
    }

    #[test]
    fn a_proxy_may_lack_scheme_and_port() {
        assert_eq!("proxy.example:3128".parse::<Proxy>().unwrap().address(), "proxy.example:3128");
        assert_eq!("http://proxy.example".parse::<Proxy>().unwrap().address(), "proxy.example:80");
        assert_eq!("https://[::1]/".parse::<Proxy>().unwrap().address(), "[::1]:443");
    }

    #[test]
    fn a_proxy_of_another_kind_is_a_mistake_that_does_not_show_its_credentials() {
        let source: Mapping = [("ALL_PROXY", "socks5://user:hunter2@proxy:1080")].into_iter().collect();
        let mut reader = Reader::new(&source);
        assert!(Proxies::load(&mut reader).secure.is_none());
        let text = reader.finish().unwrap_err().to_string();
        assert!(text.starts_with("ALL_PROXY: expected an http or https proxy URL"), "{text}");
        assert!(!text.contains("hunter2"));
    }

    #[test]
    fn credentials_are_decoded_and_not_shown() {
        let proxy: Proxy = "http://us%40er:p%3Aw@proxy:1".parse().unwrap();
        assert_eq!(
            proxy.authorization().unwrap().expose(),
            format!("Basic {}", STANDARD.encode("us@er:p:w"))
        );
        assert_eq!(format!("{proxy:?}"), r#"Proxy { address: "proxy:1", .. }"#);
    }

    #[test]
    fn exceptions_are_suffixes_addresses_and_ports() {
        let direct = |no_proxy, url| {
            route(&load([("ALL_PROXY", "http://p:1"), ("NO_PROXY", no_proxy)]), url).is_none()
        };
        assert!(direct("example.com", "wss://example.com/"));
        assert!(direct("example.com", "wss://a.b.EXAMPLE.com./"));
        assert!(direct(".example.com", "wss://a.example.com/"));
        assert!(direct("*.example.com", "wss://a.example.com/"));
        assert!(!direct("example.com", "wss://notexample.com/"));
        assert!(direct("other, 127.0.0.1", "ws://127.0.0.1:99/"));
        assert!(!direct("127.0.0.1:98", "ws://127.0.0.1:99/"));
        assert!(direct("::1", "ws://[::1]:99/"));
        assert!(direct("[::1]:99", "ws://[::1]:99/"));
        assert!(direct("example.com:443", "wss://example.com/"));
        assert!(!direct("example.com:8443", "wss://example.com/"));
        assert!(direct("*", "wss://anything.example/"));
        assert!(!direct("", "wss://anything.example/"));
    }
}
