//! Which images a gateway may name.

use std::fmt;

/// A pattern for names of images. `*` stands for any letters but `/`, and `**` for any at all; a name without tag or digest
/// means `latest`, as it does to an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImagePattern(String);

/// What an engine leaves out of the names of its usual registry.
const USUAL: [&str; 4] = ["docker.io/library/", "index.docker.io/library/", "docker.io/", "index.docker.io/"];
const LONGEST: usize = 300;

impl ImagePattern {
    /// Reads a pattern.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = |letter: char| is_letter(letter) || letter == '*';
        let valid = (1..=LONGEST).contains(&text.len()) && text.chars().all(fits) && !text.starts_with('-');
        valid.then(|| Self(whole(text)))
    }

    /// Whether `text` can be the name of an image.
    pub fn is_reference(text: &str) -> bool {
        let begins = text.starts_with(|first: char| first.is_ascii_alphanumeric());
        begins && text.len() <= LONGEST && text.chars().all(is_letter)
    }

    /// Whether an image of that name may be used.
    pub fn matches(&self, image: &str) -> bool {
        Self::is_reference(image) && fits(self.0.as_bytes(), whole(image).as_bytes())
    }
}

impl fmt::Display for ImagePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_letter(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "._-/:@".contains(letter)
}

/// The name as an engine completes it: without its usual registry, with a tag.
fn whole(name: &str) -> String {
    let short = USUAL.iter().find_map(|registry| name.strip_prefix(registry)).unwrap_or(name);
    let last = short.rsplit('/').next().unwrap_or(short);
    let open = last.ends_with("**");
    if last.contains([':', '@']) || open { short.to_owned() } else { format!("{short}:{}", tag(last)) }
}

/// `acme/*` means every image of acme, whatever its tag.
fn tag(last: &str) -> &'static str {
    if last == "*" { "*" } else { "latest" }
}

fn fits(pattern: &[u8], name: &[u8]) -> bool {
    match pattern {
        [] => name.is_empty(),
        [b'*', b'*', rest @ ..] => {
            (0..=name.len()).any(|taken| fits(rest, name.get(taken..).unwrap_or_default()))
        }
        [b'*', rest @ ..] => {
            let most = name.iter().position(|byte| *byte == b'/').unwrap_or(name.len());
            (0..=most).any(|taken| fits(rest, name.get(taken..).unwrap_or_default()))
        }
        [first, rest @ ..] => {
            name.split_first().is_some_and(|(byte, name)| byte == first && fits(rest, name))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, image: &str) -> bool {
        ImagePattern::parse(pattern).unwrap().matches(image)
    }

    #[test]
    fn a_name_means_what_it_means_to_an_engine() {
        for (pattern, image) in [
            ("alpine", "alpine"),
            ("alpine", "alpine:latest"),
            ("alpine:3.19", "docker.io/library/alpine:3.19"),
            ("docker.io/acme/app:1", "acme/app:1"),
            ("python:*", "python:3.12-slim"),
            ("python@sha256:*", "python@sha256:0123abcd"),
            ("ghcr.io/acme/*", "ghcr.io/acme/app:1.2"),
            ("ghcr.io/acme/*", "ghcr.io/acme/app"),
            ("localhost:5000/app:*", "localhost:5000/app:1"),
            ("**", "registry.example.com/a/b/c:1"),
        ] {
            assert!(matches(pattern, image), "{pattern} {image}");
        }
    }

    #[test]
    fn a_pattern_reaches_no_further_than_it_says() {
        for (pattern, image) in [
            ("alpine", "alpine:3.19"),
            ("alpine", "evil/alpine"),
            ("alpine", "alpine@sha256:0"),
            ("python:*", "python/evil:1"),
            ("python:*", "evil.example.com/python:1"),
            ("acme/*", "acme/deeper/app:1"),
            ("*", "evil/app"),
            ("ghcr.io/acme/*", "ghcr.io/acme-evil/app:1"),
            ("**", "-v"),
            ("**", "a b"),
            ("**", ""),
        ] {
            assert!(!matches(pattern, image), "{pattern} {image}");
        }
        for pattern in ["", "a b", "a;b", "-x", "a$b"] {
            assert_eq!(ImagePattern::parse(pattern), None, "{pattern}");
        }
    }
}
