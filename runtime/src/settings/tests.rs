use super::*;
use crate::fixtures::Temporary;

fn source<const N: usize>(pairs: [(&str, &str); N]) -> Mapping {
    pairs.into_iter().collect()
}

/// A path as it stands in a setting.
fn text(file: &Temporary) -> &str {
    file.path().to_str().unwrap()
}

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let source = source([("PORT_A", "2"), ("PORT_B", "2")]);
    let file: toml::Table = "[port]\na = 3\nb = 3\nc = 3".parse().unwrap();
    let mut reader = Reader::new(&source).with_file(&file);
    let key = |name: &str| Key::env(format!("PORT_{}", name.to_uppercase())).file(format!("port.{name}"));
    assert_eq!(reader.port(key("a").flag("--a", Some("1".to_owned()))), Some(1));
    assert_eq!(reader.port(key("b").flag("--b", None)), Some(2));
    assert_eq!(reader.port(key("c")), Some(3));
    assert_eq!(reader.port(key("d")), None);
    assert_eq!(reader.finish().unwrap(), []);
}

#[test]
fn an_empty_environment_value_counts_as_absent() {
    let source = source([("SEMILAYER_HEALTH_PORT", ""), ("PORT", "9090")]);
    let mut reader = Reader::new(&source);
    assert_eq!(reader.port(Key::env("SEMILAYER_HEALTH_PORT").or_env("PORT")), Some(9090));
    assert_eq!(reader.text("SEMILAYER_HEALTH_PORT"), None);
}

#[test]
fn every_mistake_is_reported_with_its_key_and_what_was_expected() {
    let source = source([("LIMIT", "many"), ("WAIT", "soon"), ("QUIET", "perhaps")]);
    let file: toml::Table = "name = ['a', 'b']".parse().unwrap();
    let mut reader = Reader::new(&source).with_file(&file);
    assert_eq!(reader.parsed::<u32>("LIMIT", "a whole number"), None);
    assert_eq!(reader.duration("WAIT"), None);
    assert_eq!(reader.flag("QUIET"), None);
    assert_eq!(reader.text(Key::env("NAME").file("name")), None);
    assert_eq!(reader.required(Key::env("TOKEN").flag("--token", None)), "");
    let shown = reader.finish().unwrap_err().to_string();
    let expected = "LIMIT: expected a whole number, the environment has something else\n\
        WAIT: expected a duration such as 500ms, 30s or 2m, the environment has something else\n\
        QUIET: expected true or false, the environment has something else\n\
        NAME: expected a single value at name of the config file\n\
        TOKEN: is required (or --token)";
    assert_eq!(shown, expected);
}

#[test]
fn a_required_setting_with_a_mistake_is_reported_once() {
    let source = source([]);
    let file: toml::Table = "name = ['a', 'b']".parse().unwrap();
    let mut reader = Reader::new(&source).with_file(&file);
    reader.required(Key::env("NAME").file("name"));
    assert_eq!(reader.finish().unwrap_err().iter().count(), 1);
}

#[test]
fn durations_have_units_or_are_seconds() {
    let millis = |text| parse_duration(text).map(|duration| duration.as_millis());
    assert_eq!(millis("500ms"), Some(500));
    assert_eq!(millis("30s"), Some(30_000));
    assert_eq!(millis("2m"), Some(120_000));
    assert_eq!(millis("1h"), Some(3_600_000));
    assert_eq!(millis("1d"), Some(86_400_000));
    assert_eq!(millis("15"), Some(15_000));
    for wrong in ["", "s", "-1s", "1.5s", "1 week", "99999999999999999999", "18446744073709551615h", "5é"] {
        assert_eq!(parse_duration(wrong), None, "{wrong}");
    }
}

#[test]
fn a_secret_file_loses_exactly_one_newline() {
    for (content, secret) in [("a b", "a b"), ("pw\n", "pw"), ("pw\r\n", "pw"), (" pw\n\n", " pw\n")] {
        let file = Temporary::with_mode(content.as_bytes(), 0o600);
        let source = source([("TOKEN_FILE", text(&file))]);
        let mut reader = Reader::new(&source);
        assert_eq!(reader.secret("TOKEN").unwrap().expose(), secret);
        assert_eq!(reader.finish().unwrap(), []);
    }
}

#[test]
fn a_secret_file_that_others_can_read_is_warned_of() {
    for mode in [0o640, 0o604] {
        let file = Temporary::with_mode(b"pw", mode);
        let source = source([("TOKEN_FILE", text(&file))]);
        let mut reader = Reader::new(&source);
        assert_eq!(reader.secret("TOKEN").unwrap().expose(), "pw");
        let warnings = reader.finish().unwrap();
        assert_eq!(warnings.len(), 1);
        assert_eq!(warnings[0].key, "TOKEN_FILE");
    }
}

#[test]
fn a_secret_file_that_cannot_be_used_is_a_mistake() {
    let empty = Temporary::with_mode(b"\n", 0o600);
    let binary = Temporary::with_mode(b"\xff\xfe", 0o600);
    let large = Temporary::with_mode(&[b'x'; 70_000], 0o600);
    for (path, expected) in [
        ("/nonexistent/secret", "cannot be read"),
        ("/", "is not a regular file"),
        (text(&empty), "is empty"),
        (text(&binary), "is not text in UTF-8"),
        (text(&large), "is larger than 65536 bytes"),
    ] {
        let source = source([("TOKEN_FILE", path)]);
        let mut reader = Reader::new(&source);
        assert!(reader.secret("TOKEN").is_none());
        let shown = reader.finish().unwrap_err().to_string();
        assert!(shown.starts_with("TOKEN_FILE: ") && shown.contains(expected), "{shown}");
        assert!(
            path == "/" || !shown.contains(path),
            "a secret put there by mistake would be shown: {shown}"
        );
    }
}

#[test]
fn a_secret_and_its_file_together_are_a_mistake() {
    let source = source([("TOKEN", "rk_1"), ("TOKEN_FILE", "/nonexistent")]);
    let mut reader = Reader::new(&source);
    assert!(reader.secret("TOKEN").is_none());
    let shown = reader.finish().unwrap_err().to_string();
    assert_eq!(shown, "TOKEN: is set together with TOKEN_FILE; set only one of them");
}

#[test]
fn a_secret_file_of_the_environment_wins_over_a_secret_in_the_config_file() {
    let secret = Temporary::with_mode(b"from the environment", 0o600);
    let source = source([("TOKEN_FILE", text(&secret))]);
    let file: toml::Table = "token = 'from the config file'".parse().unwrap();
    let mut reader = Reader::new(&source).with_file(&file);
    assert_eq!(reader.secret(Key::env("TOKEN").file("token")).unwrap().expose(), "from the environment");
}

#[test]
fn the_config_file_has_the_file_form_too() {
    let secret = Temporary::with_mode(b"pw\n", 0o600);
    let source = source([]);
    let file: toml::Table = format!("[runner]\ntoken_file = '{}'", text(&secret)).parse().unwrap();
    let mut reader = Reader::new(&source).with_file(&file);
    assert_eq!(reader.secret(Key::env("TOKEN").file("runner.token")).unwrap().expose(), "pw");
}

#[test]
fn a_secret_in_the_arguments_is_warned_of_and_wins() {
    let source = source([("TOKEN", "rk_env")]);
    let mut reader = Reader::new(&source);
    let key = Key::env("TOKEN").flag("--token", Some("rk_flag".to_owned()));
    assert_eq!(reader.secret(key).unwrap().expose(), "rk_flag");
    assert_eq!(reader.finish().unwrap().len(), 1);
}

#[test]
fn no_message_or_debug_output_repeats_a_value() {
    let source = source([("LIMIT", "hunter2"), ("TOKEN", "hunter2"), ("TOKEN_FILE", "hunter2")]);
    let mut reader = Reader::new(&source);
    reader.port("LIMIT");
    reader.secret("TOKEN");
    let key = Key::env("TOKEN").flag("--token", Some("hunter2".to_owned()));
    let shown = format!("{source:?} {reader:?} {key:?}");
    let shown = format!("{shown} {}", reader.finish().unwrap_err());
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn names_are_those_with_the_prefix_in_order() {
    let source = source([("SOURCE_B", "1"), ("SOURCE_A", "2"), ("OTHER", "3")]);
    assert_eq!(source.names("SOURCE_"), ["SOURCE_A", "SOURCE_B"]);
    assert!(Environment.names("").contains(&"PATH".to_owned()));
    assert!(Environment.get("PATH").is_some_and(|path| !path.is_empty()));
}

#[test]
fn a_variable_that_was_asked_for_is_no_stranger_and_a_slip_in_its_name_is_one() {
    let source = source([
        ("SEMILAYER_LISTEN", "1"),
        ("SEMILAYER_ADMIN_TOKEN_FIEL", "hunter2"),
        ("SEMILAYER_READ_ELSEWHERE", "1"),
        ("SEMILAYER_LISTN", "hunter2"),
    ]);
    let mut reader = Reader::new(&source);
    reader.text(Key::env("SEMILAYER_LISTEN").flag("--listen", Some("2".to_owned())));
    reader.secret("SEMILAYER_ADMIN_TOKEN");
    reader.reads("SEMILAYER_READ_ELSEWHERE");
    reader.tell_strangers(&["SEMILAYER_READ_"]);
    let told: Vec<_> = reader.finish().unwrap().iter().map(ToString::to_string).collect();
    let expected = [
        "SEMILAYER_ADMIN_TOKEN_FIEL: is not a setting; did you mean SEMILAYER_ADMIN_TOKEN_FILE?",
        "SEMILAYER_LISTN: is not a setting; did you mean SEMILAYER_LISTEN?",
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_misspelt_name_is_told_together_with_the_setting_that_it_leaves_without_a_value() {
    let source = source([("SEMILAYER_RUNER_ID", "r1")]);
    let mut reader = Reader::new(&source);
    reader.required("SEMILAYER_RUNNER_ID");
    reader.tell_strangers(&[]);
    let expected = "SEMILAYER_RUNNER_ID: is required\n\
        SEMILAYER_RUNER_ID: is not a setting; did you mean SEMILAYER_RUNNER_ID?";
    assert_eq!(reader.finish().unwrap_err().to_string(), expected);
}
