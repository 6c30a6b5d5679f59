//! Secrets that can be found again, whatever they were turned into on the way out.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};

/// A secret value with everything in it that some encoding changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canary {
    /// What it is the value of.
    pub field: String,
    /// The value.
    pub value: String,
}

impl Canary {
    /// A secret for a field. The value has characters that URLs, JSON and base64 each write differently.
    pub fn new(field: impl Into<String>) -> Self {
        let unique = uuid::Uuid::new_v4().simple().to_string();
        Self { field: field.into(), value: format!("cnry\"{}/ +\\é{}", &unique[..12], &unique[12..24]) }
    }

    /// A secret for a field whose value must be a plain word: a host, a user, a database.
    pub fn word(field: impl Into<String>) -> Self {
        let unique = uuid::Uuid::new_v4().simple().to_string();
        Self { field: field.into(), value: format!("cnry{}", &unique[..20]) }
    }

    /// A secret that is what it is: a port, a path.
    pub fn of(field: impl Into<String>, value: impl Into<String>) -> Self {
        Self { field: field.into(), value: value.into() }
    }

    /// Every form in which it may have leaked, each with the encoding's name.
    fn forms(&self) -> Vec<(&'static str, Vec<u8>)> {
        let bytes = self.value.as_bytes();
        let encoded = percent_encode(bytes, NON_ALPHANUMERIC).to_string();
        let json = serde_json::to_string(&self.value).unwrap();
        let json = json[1..json.len() - 1].to_owned();
        let ascii: String = json.chars().map(ascii_json).collect();
        let mut forms = vec![
            ("raw", bytes.to_vec()),
            ("json", json.replace('/', "\\/").into_bytes()),
            ("json ascii", ascii.into_bytes()),
            ("json twice", {
                let twice = serde_json::to_string(&json).unwrap();
                twice.as_bytes()[1..twice.len() - 1].to_vec()
            }),
            ("debug", {
                let debug = format!("{:?}", self.value);
                debug.as_bytes()[1..debug.len() - 1].to_vec()
            }),
            ("url in lower case", lower_hex(&encoded).into_bytes()),
            ("url form", encoded.replace("%20", "+").into_bytes()),
            ("url path", percent_encode(bytes, PATH).to_string().into_bytes()),
            ("json", json.into_bytes()),
            ("url", encoded.into_bytes()),
        ];
        forms.extend(base64_forms(bytes).into_iter().map(|form| ("base64", form)));
        forms
    }
}

/// What most URL writers leave alone, beyond letters and digits.
const PATH: &percent_encoding::AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// The same with the hexadecimal digits of its escapes in lower case.
fn lower_hex(encoded: &str) -> String {
    let mut parts = encoded.split('%');
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |text, part| format!("{text}%{}{}", part[..2].to_lowercase(), &part[2..]))
}

fn ascii_json(letter: char) -> String {
    if letter.is_ascii() { letter.to_string() } else { format!("\\u{:04x}", u32::from(letter)) }
}

/// The letters that a value has in any base64 text that holds it, at whichever of the three places of a group it begins.
/// Letters at its ends mix with its neighbours and are left out.
fn base64_forms(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = Vec::new();
    for shift in 0..3 {
        let shifted: Vec<u8> = std::iter::repeat_n(0, shift).chain(bytes.iter().copied()).collect();
        let first = if shift == 0 { 0 } else { shift + 1 };
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            let text = engine.encode(&shifted);
            // The last letter holds bits of the value alone only when the group is full.
            let last = shifted.len() * 8 / 6;
            forms.push(text.as_bytes()[first..last].to_vec());
        }
    }
    forms
}

/// A secret that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leak {
    /// Whose value.
    pub field: String,
    /// In which encoding.
    pub form: &'static str,
    /// In which text.
    pub place: String,
    /// What stands around it.
    pub context: String,
}

/// Searches a text for every form of every secret.
pub fn search(canaries: &[Canary], place: &str, text: &[u8]) -> Vec<Leak> {
    let mut leaks = Vec::new();
    for canary in canaries {
        for (form, needle) in canary.forms() {
            if let Some(at) = find(text, &needle) {
                let around = &text[at.saturating_sub(120)..(at + needle.len() + 40).min(text.len())];
                leaks.push(Leak {
                    field: canary.field.clone(),
                    form,
                    place: place.to_owned(),
                    context: String::from_utf8_lossy(around).into_owned(),
                });
            }
        }
    }
    leaks
}

fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    assert!(needle.len() >= 5, "too short to be told apart: {needle:?}");
    memchr::memmem::find(text, needle)
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};

    use super::*;

    /// What a leak looks like in every place where one was ever seen.
    fn leaks_of(value: &str) -> Vec<(&'static str, Vec<u8>)> {
        let json = serde_json::json!({"message": format!("cannot connect: {value}")}).to_string();
        let nested = serde_json::json!({"log": json}).to_string();
        let url = url_of(value);
        let mut leaks = vec![
            ("raw", format!("password {value} refused").into_bytes()),
            ("debug", format!("Config {{ password: {value:?} }}").into_bytes()),
            ("url", url.clone().into_bytes()),
            ("url in lower case", lower_hex(&url).into_bytes()),
            ("json", json.into_bytes()),
            ("json in json", nested.into_bytes()),
        ];
        for before in ["", "u", "us", "user:"] {
            let whole = format!("{before}{value}@host");
            leaks.push(("base64", format!("Basic {}", STANDARD.encode(&whole)).into_bytes()));
            leaks.push(("base64 for URLs", URL_SAFE.encode(&whole).into_bytes()));
        }
        leaks
    }

    fn url_of(value: &str) -> String {
        format!("postgres://app:{}@host/db", percent_encode(value.as_bytes(), NON_ALPHANUMERIC))
    }

    #[test]
    fn a_secret_is_found_in_every_form_that_it_leaks_in() {
        for canary in
            [Canary::new("password"), Canary::word("user"), Canary::of("path", "/srv/data/file 1.db")]
        {
            for (form, text) in leaks_of(&canary.value) {
                let found = search(std::slice::from_ref(&canary), "test", &text);
                assert!(
                    !found.is_empty(),
                    "{form}: {:?} in {:?}",
                    canary.value,
                    String::from_utf8_lossy(&text)
                );
            }
        }
    }

    #[test]
    fn a_text_without_the_secret_has_no_leak() {
        let (mine, other) = (Canary::new("mine"), Canary::new("other"));
        for (_, text) in leaks_of(&other.value) {
            assert_eq!(search(std::slice::from_ref(&mine), "test", &text), []);
        }
    }
}
