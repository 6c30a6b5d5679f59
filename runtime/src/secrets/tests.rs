use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::*;

use super::*;

fn scrubber(secrets: &[&str]) -> Scrubber {
    let secrets: Vec<_> = secrets.iter().map(|text| Secret::new(*text)).collect();
    Scrubber::new(&secrets)
}

fn scrub(secrets: &[&str], text: &str) -> String {
    scrubber(secrets).scrub(text).into_owned()
}

/// Every encoding of `secret` that must not get through.
fn encodings(secret: &str) -> Vec<String> {
    let percent = utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string();
    let form: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let json = serde_json::to_string(secret).unwrap();
    let ascii_json: String = secret.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
    vec![
        secret.to_owned(),
        lower_hex(&percent),
        percent,
        form,
        json[1..json.len() - 1].to_owned(),
        ascii_json,
        secret.escape_debug().to_string(),
        STANDARD.encode(secret),
        STANDARD_NO_PAD.encode(secret),
        URL_SAFE.encode(secret),
        URL_SAFE_NO_PAD.encode(secret),
        utf8_percent_encode(&STANDARD.encode(secret), NON_ALPHANUMERIC).to_string(),
    ]
}

/// `%AB` as `%ab`.
fn lower_hex(percent: &str) -> String {
    let mut rest = 0;
    let lower = |c: char| {
        rest = if c == '%' { 3 } else { rest };
        let inside = rest > 0;
        rest = usize::saturating_sub(rest, 1);
        if inside { c.to_ascii_lowercase() } else { c }
    };
    percent.chars().map(lower).collect()
}

#[test]
fn text_without_secrets_is_borrowed() {
    assert!(matches!(scrubber(&["hunter2"]).scrub("all is well"), Cow::Borrowed("all is well")));
    assert!(matches!(Scrubber::default().scrub("hunter2"), Cow::Borrowed(_)));
}

#[test]
fn a_secret_is_replaced_in_each_encoding() {
    let secret = "p@ss w/\"ö\"\n+ 😀?~";
    for encoded in encodings(secret) {
        assert_eq!(scrub(&[secret], &format!("<{encoded}>")), "<[redacted]>", "{encoded}");
    }
}

#[test]
fn a_secret_is_replaced_within_longer_base64() {
    for before in ["u:", "us:", "use:", "user:"] {
        let header = STANDARD.encode(format!("{before}hunter2 and more"));
        let clean = scrub(&["hunter2"], &format!("Authorization: Basic {header}"));
        assert!(clean.contains(REDACTED), "{clean}");
        assert!(clean.starts_with("Authorization: Basic "), "{clean}");
    }
}

#[test]
fn the_password_of_a_connection_url_is_a_secret_too() {
    let url = "postgres://app:p%40ss%2Fword@db:5432/shop";
    assert_eq!(scrub(&[url], "password p@ss/word is wrong"), "password [redacted] is wrong");
    assert_eq!(scrub(&[url], "cannot open p%40ss%2fword"), "cannot open [redacted]");
    assert_eq!(scrub(&[url], "host db:5432 is down"), "host db:5432 is down");
}

#[test]
fn a_line_of_a_private_key_is_a_secret_too() {
    let key = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1\nZZZZaaaa0000bbbb1111\n-----END PRIVATE KEY-----\n";
    let clean = scrub(&[key], "bad line MC4CAQAwBQYDK2VwBCIEIJ1 after -----BEGIN PRIVATE KEY-----");
    assert_eq!(clean, "bad line [redacted] after -----BEGIN PRIVATE KEY-----");
}

#[test]
fn a_short_secret_is_replaced_only_where_it_stands_alone() {
    assert_eq!(
        scrub(&["a"], "a banana, a=a, YQ== YQx"),
        "[redacted] banana, [redacted]=[redacted], [redacted] YQx"
    );
    assert_eq!(scrub(&["abc"], "abcd xabc abc_ \"abc\""), "abcd xabc abc_ \"[redacted]\"");
}

#[test]
fn secrets_that_overlap_leave_nothing_behind() {
    assert_eq!(scrub(&["abcdef", "defghi"], "<abcdefghi>"), "<[redacted]>");
    assert_eq!(scrub(&["secret", "secretive"], "secretive"), "[redacted]");
}

#[test]
fn neighbours_each_go() {
    assert_eq!(scrub(&["hunter2"], "hunter2hunter2"), "[redacted][redacted]");
}

#[test]
fn debug_shows_no_secret() {
    assert_eq!(format!("{:?}", scrubber(&["hunter2"])), "Scrubber { needles: 4 }");
}

proptest! {
    #[test]
    fn no_encoding_of_a_secret_survives(
        secret in "[a-zA-Z0-9!-/:-@ \u{0}-\u{1f}äß€😀]{4,24}",
        before in "[ -Z^-~]{0,12}",
        after in "[ -Z^-~]{0,12}",
    ) {
        for encoded in encodings(&secret) {
            let clean = scrub(&[&secret], &format!("{before}{encoded}{after}"));
            prop_assert!(clean.contains(REDACTED), "{encoded:?} in {clean:?}");
            prop_assert!(!clean.contains(&encoded), "{encoded:?} in {clean:?}");
        }
    }

    #[test]
    fn no_place_within_longer_base64_survives(
        before in prop::collection::vec(any::<u8>(), 0..7),
        secret in "[!-~]{6,24}",
        after in prop::collection::vec(any::<u8>(), 0..7),
    ) {
        let mut bytes = before;
        bytes.extend_from_slice(secret.as_bytes());
        bytes.extend(after);
        for encoded in [STANDARD.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes)] {
            prop_assert!(scrub(&[&secret], &encoded).contains(REDACTED));
        }
    }

    #[test]
    fn hostile_text_and_secrets_do_no_harm(secrets in prop::collection::vec("\\PC{0,6}", 0..4), text in "\\PC*") {
        let secrets: Vec<_> = secrets.iter().map(String::as_str).collect();
        let clean = scrub(&secrets, &text);
        prop_assert!(clean.len() <= text.len() * REDACTED.len() + 1);
    }

    #[test]
    fn text_without_the_secret_stays_as_it_is(text in "[a-m ]*") {
        prop_assert_eq!(scrub(&["xyzzy"], &text), text);
    }
}
