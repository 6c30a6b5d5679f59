//! The parts of an image's reference: a registry may have a port, a digest may stand in place of a tag.

/// `name[:tag][@digest]`, borrowed from the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reference<'a> {
    /// With the registry, where one is named.
    pub(crate) name: &'a str,
    /// `latest` where neither a tag nor a digest is named.
    pub(crate) tag: Option<&'a str>,
    /// `sha256:..`.
    pub(crate) digest: Option<&'a str>,
}

impl<'a> Reference<'a> {
    pub(crate) fn parse(text: &'a str) -> Self {
        let (rest, digest) = text.split_once('@').map_or((text, None), |(rest, digest)| (rest, Some(digest)));
        // A colon before the last slash belongs to the registry's port.
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            Some(_) | None => (rest, None),
        };
        Self { name, tag: tag.or(digest.is_none().then_some("latest")), digest }
    }

    /// What the engine's pull call takes as its tag.
    pub(crate) fn version(&self) -> &'a str {
        self.digest.or(self.tag).unwrap_or("latest")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_tags_and_digests_are_told_apart() {
        let cases = [
            ("alpine", "alpine", Some("latest"), None),
            ("alpine:3.19", "alpine", Some("3.19"), None),
            ("registry:5000/a/b", "registry:5000/a/b", Some("latest"), None),
            ("registry:5000/a/b:v1", "registry:5000/a/b", Some("v1"), None),
            ("alpine@sha256:ab", "alpine", None, Some("sha256:ab")),
            ("registry:5000/a:v1@sha256:ab", "registry:5000/a", Some("v1"), Some("sha256:ab")),
        ];
        for (text, name, tag, digest) in cases {
            assert_eq!(Reference::parse(text), Reference { name, tag, digest }, "{text}");
        }
    }

    #[test]
    fn a_digest_is_pulled_rather_than_its_tag() {
        assert_eq!(Reference::parse("a:v1@sha256:ab").version(), "sha256:ab");
        assert_eq!(Reference::parse("a:v1").version(), "v1");
        assert_eq!(Reference::parse("a").version(), "latest");
    }
}
