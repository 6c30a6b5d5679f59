//! Where the gateway is.

use runtime::settings::{Key, Reader};
use url::{Host, Url};

use crate::cli::Flags;

const NAME: &str = "SEMILAYER_GATEWAY_URL";
const PATH: &str = "/connect";
const EXPOSED: &str =
    "expected wss://, because ws:// would show the token to the network (or pass --insecure-gateway)";
const DEFAULT: &str = "wss://runner.semilayer.com/connect";

/// The setting; after a mistake the default, which then is not used.
pub(super) fn read(reader: &mut Reader<'_>, flags: &Flags) -> Url {
    let key = Key::env(NAME).file("gateway").flag("--gateway", flags.gateway.clone());
    let insecure = insecure(reader, flags);
    let Some(text) = reader.text(key) else { return default_url() };
    let allowed = gateway_url(&text).and_then(|url| {
        if url.scheme() == "wss" || insecure || is_loopback(&url) { Ok(url) } else { Err(EXPOSED) }
    });
    allowed.unwrap_or_else(|expected| {
        reader.mistake(NAME, expected);
        default_url()
    })
}

fn insecure(reader: &mut Reader<'_>, flags: &Flags) -> bool {
    let flag = flags.insecure_gateway.then(|| "true".to_owned());
    let key =
        Key::env("SEMILAYER_INSECURE_GATEWAY").file("insecure_gateway").flag("--insecure-gateway", flag);
    reader.flag(key).unwrap_or(false)
}

/// Reads a gateway's URL: `http` means `ws`, `https` means `wss`, and without a path it is `/connect`.
pub fn gateway_url(text: &str) -> Result<Url, &'static str> {
    let expected = "expected a wss:// or https:// URL such as wss://gateway.example.com/connect";
    let text = text.trim();
    let (scheme, rest) = text.split_once("://").ok_or(expected)?;
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "wss" | "https" => "wss",
        "ws" | "http" => "ws",
        _ => return Err(expected),
    };
    let mut url = Url::parse(&format!("{scheme}://{rest}")).map_err(|_| expected)?;
    if url.host().is_none() {
        return Err(expected);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("expected a URL without user and password; the token has its own setting");
    }
    url.set_fragment(None);
    if url.path() == "/" {
        url.set_path(PATH);
    }
    Ok(url)
}

/// Whether a URL leads to this host.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Where runners of the hosted service connect.
#[expect(clippy::expect_used, reason = "a constant; every test that loads settings parses it")]
fn default_url() -> Url {
    Url::parse(DEFAULT).expect("the default URL is valid")
}
