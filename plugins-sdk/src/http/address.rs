//! Where a request goes.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// What stands as it is in a path segment or in a query: RFC 3986's unreserved characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A URL of `http` or `https`, without user and fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    /// Scheme, host and port, in lower case: `https://api.example.com:8443`.
    origin: String,
    /// Begins with `/`.
    path: String,
    /// Begins with `?`, or is empty.
    query: String,
}

/// Who is asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) password: String,
}

/// Text as one segment of a path: everything that has a meaning in URLs is escaped.
///
/// ```
/// assert_eq!(semilayer_plugin::http::segment("a/b c"), "a%2Fb%20c");
/// ```
pub fn segment(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

impl Address {
    /// Reads an absolute URL, and the user that it may name. Nothing when it is none.
    pub(super) fn parse(text: &str) -> Option<(Self, Option<User>)> {
        let (scheme, rest) = text.split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        if scheme != "http" && scheme != "https" || text.contains(is_never_in_a_url) {
            return None;
        }
        let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(User::parse(user)?), host),
            None => (None, authority),
        };
        let without_port =
            host.rsplit_once(':').map_or(host, |(name, port)| if is_port(port) { name } else { host });
        if without_port.is_empty() {
            return None;
        }
        let origin = format!("{scheme}://{}", host.to_ascii_lowercase());
        let (path, query) = split_path(rest);
        let path = if path.is_empty() { "/" } else { path };
        Some((Self { origin, path: path.to_owned(), query: query.to_owned() }, user))
    }

    /// The URL below this one; what begins with a scheme stands for itself. Nothing when it climbs out by `..`.
    pub(super) fn below(&self, path: &str) -> Option<Self> {
        if is_absolute(path) {
            return Self::parse(path).map(|(address, _)| address);
        }
        let (path, query) = split_path(path);
        if path.contains(is_never_in_a_url) || path.split('/').any(is_dots) {
            return None;
        }
        let base = self.path.trim_end_matches('/');
        let path = if path.is_empty() {
            self.path.clone()
        } else {
            format!("{base}/{}", path.trim_start_matches('/'))
        };
        let mut below = Self { origin: self.origin.clone(), path, query: self.query.clone() };
        if let Some(query) = query.strip_prefix('?') {
            below.add_query(query);
        }
        Some(below)
    }

    /// What a link on this page leads to (RFC 3986, section 5).
    pub(super) fn resolve(&self, link: &str) -> Option<Self> {
        let link = link.trim();
        if is_absolute(link) {
            return Self::parse(link).map(|(address, _)| address);
        }
        if let Some(rest) = link.strip_prefix("//") {
            let (scheme, _) = self.origin.split_once("://")?;
            return Self::parse(&format!("{scheme}://{rest}")).map(|(address, _)| address);
        }
        if link.contains(is_never_in_a_url) {
            return None;
        }
        let (path, query) = split_path(link);
        let (path, query) = match path {
            "" if query.is_empty() => (self.path.clone(), self.query.as_str()),
            "" => (self.path.clone(), query),
            path if path.starts_with('/') => (without_dots(path), query),
            path => {
                let folder = self.path.rsplit_once('/').map_or("", |(folder, _)| folder);
                (without_dots(&format!("{folder}/{path}")), query)
            }
        };
        Some(Self { origin: self.origin.clone(), path, query: query.to_owned() })
    }

    pub(super) fn is_same_origin(&self, other: &Self) -> bool {
        self.origin == other.origin
    }

    /// Adds a parameter, or replaces it.
    pub(super) fn set_query(&mut self, name: &str, value: &str) {
        let name = segment(name);
        let is_other =
            |pair: &&str| pair.split_once('=').map_or(*pair, |(key, _)| key) != name && !pair.is_empty();
        let kept: Vec<&str> = self.query.trim_start_matches('?').split('&').filter(is_other).collect();
        self.query = if kept.is_empty() { String::new() } else { format!("?{}", kept.join("&")) };
        self.add_query(&format!("{name}={}", segment(value)));
    }

    fn add_query(&mut self, pairs: &str) {
        if !pairs.is_empty() {
            self.query.push(if self.query.is_empty() { '?' } else { '&' });
            self.query.push_str(pairs);
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}{}", self.origin, self.path, self.query)
    }
}

impl User {
    fn parse(text: &str) -> Option<Self> {
        let (name, password) = text.split_once(':').unwrap_or((text, ""));
        let decode = |text| percent_decode_str(text).decode_utf8().ok().map(String::from);
        Some(Self { name: decode(name)?, password: decode(password)? })
    }
}

/// Path and query of what follows the authority; the fragment is the reader's own.
fn split_path(text: &str) -> (&str, &str) {
    let text = text.split_once('#').map_or(text, |(text, _)| text);
    text.split_at(text.find('?').unwrap_or(text.len()))
}

fn is_absolute(text: &str) -> bool {
    let scheme = text.split_once("://").map_or("", |(scheme, _)| scheme);
    scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
}

fn is_never_in_a_url(character: char) -> bool {
    character.is_ascii_control() || matches!(character, ' ' | '\\' | '"' | '<' | '>')
}

fn is_port(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A segment that means a place above, however it is spelled: the runner's parser and many servers act on it.
fn is_dots(segment: &str) -> bool {
    let plain = segment.to_ascii_lowercase().replace("%2e", ".");
    plain == "." || plain == ".."
}

fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        if !is_dots(segment) {
            kept.push(segment);
        } else if segment.len() == 2 || segment.len() > 3 {
            // Two dots, in whichever spelling; the first, empty segment stays.
            kept.truncate(kept.len().saturating_sub(1).max(1));
        }
    }
    kept.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap().0
    }

    #[test]
    fn a_base_url_may_name_a_user_who_is_not_part_of_it() {
        let (address, user) = Address::parse("HTTPS://me:p%40ss@Api.Example.com:8443/v1?key=1#top").unwrap();
        assert_eq!(address.to_string(), "https://api.example.com:8443/v1?key=1");
        assert_eq!(user, Some(User { name: "me".to_owned(), password: "p@ss".to_owned() }));
        assert_eq!(self::address("http://[::1]:9200").to_string(), "http://[::1]:9200/");
    }

    #[test]
    fn what_is_no_url_of_http_is_refused() {
        for text in [
            "",
            "ftp://x/",
            "api.example.com",
            "http://",
            "http:///x",
            "http://:80/",
            "http://a b/",
            "http://x/\n",
        ] {
            assert!(Address::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn paths_of_requests_stand_below_the_base() {
        let base = address("https://x/v1/");
        let below = |path: &str| base.below(path).map(|address| address.to_string());
        assert_eq!(below("things").unwrap(), "https://x/v1/things");
        assert_eq!(below("/things?a=1").unwrap(), "https://x/v1/things?a=1");
        assert_eq!(below("").unwrap(), "https://x/v1/");
        assert_eq!(below("https://y/z").unwrap(), "https://y/z");
        for climbing in ["../admin", "a/../../b", "a/%2E%2e", "a/.%2e/b", "a/./b"] {
            assert_eq!(below(climbing), None, "{climbing}");
        }
    }

    #[test]
    fn links_lead_where_a_browser_would_go() {
        let page = address("https://x/v1/things?page=1");
        let link = |text: &str| page.resolve(text).unwrap().to_string();
        assert_eq!(link("https://y/z"), "https://y/z");
        assert_eq!(link("//y/z"), "https://y/z");
        assert_eq!(link("/z?a"), "https://x/z?a");
        assert_eq!(link("other"), "https://x/v1/other");
        assert_eq!(link("../other"), "https://x/other");
        assert_eq!(link("../../../other"), "https://x/other");
        assert_eq!(link("?page=2"), "https://x/v1/things?page=2");
        assert_eq!(link("#end"), "https://x/v1/things?page=1");
    }

    #[test]
    fn parameters_are_escaped_and_replaced() {
        let mut address = address("https://x/?page=1&q=a");
        address.set_query("page", "2");
        address.set_query("name", "a&b=ü");
        assert_eq!(address.to_string(), "https://x/?q=a&page=2&name=a%26b%3D%C3%BC");
    }
}
