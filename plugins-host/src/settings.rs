//! A source's configuration as its plugin gets it: the manifest's keys alone, each of the type that the manifest says.

use bridge_core::{ConfigFields, ConfigMistakes};
use percent_encoding::percent_decode_str;
use protocol::{Field, FieldGroup, FieldKind, Secret, SourceConfig};
use serde_json::{Map, Number, Value};

use crate::describe::{Described, POOL_MAX_KEY, URL_KEY};
use crate::limits::POOL_MAX;
use crate::network::Endpoint;

const MAX_POOL: i64 = 1_000;
const PORT_KEY: &str = "port";

/// Everything that a source needs.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// A JSON object for the guest.
    config: Secret,
    /// Hosts that the configuration names.
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) pool_max: usize,
    /// Passwords, also those of URLs.
    pub(crate) secrets: Vec<Secret>,
}

impl Settings {
    /// Reads a configuration by the manifest. What only the plugin can judge it judges when it connects.
    pub(crate) fn read(described: &Described, config: &SourceConfig) -> Result<Self, ConfigMistakes> {
        let mut fields = ConfigFields::new(config);
        let (mut values, mut defaults) = (Map::new(), Map::new());
        let url = fields.text(&[URL_KEY]).filter(|_| described.manifest.supports_url);
        let has_url = url.is_some();
        if let Some(url) = url {
            values.insert(URL_KEY.to_owned(), Value::String(url));
        }
        for field in &described.manifest.fields {
            if !described.own_keys.contains(&field.key) {
                continue;
            }
            match read_value(&mut fields, config, field) {
                Read::Set(value) => {
                    values.insert(field.key.clone(), value);
                }
                Read::Wrong => {}
                Read::Unset => match default(field, has_url) {
                    Some(value) => {
                        defaults.insert(field.key.clone(), value);
                    }
                    None if field.required && !has_url => fields.mistake(&field.key, missing(described)),
                    None => {}
                },
            }
        }
        let pool_max = fields.integer(&["pool.max", POOL_MAX_KEY], 1..=MAX_POOL);
        let endpoints = endpoints(described, &values, &mut fields);
        let secrets = secrets(described, &values);
        // Only now: nobody has set them but the plugin itself, which may not say where it may connect.
        values.append(&mut defaults);
        let settings = Self {
            secrets,
            config: Secret::from(Value::Object(values).to_string()),
            endpoints,
            pool_max: pool_max.and_then(|max| usize::try_from(max).ok()).unwrap_or(POOL_MAX),
        };
        fields.finish(settings)
    }

    /// The configuration, for the guest alone.
    pub(crate) fn config(&self) -> &Secret {
        &self.config
    }
}

enum Read {
    Set(Value),
    /// Noted as a mistake.
    Wrong,
    Unset,
}

fn read_value(fields: &mut ConfigFields<'_>, config: &SourceConfig, field: &Field) -> Read {
    let key = field.key.as_str();
    let given = config.expose().get(key).filter(|value| !value.is_null() && value.as_str() != Some(""));
    let Some(given) = given else { return Read::Unset };
    let value = match (field.kind, given) {
        // Where a file of settings says with structure what a form says with text.
        (FieldKind::String, Value::Array(_) | Value::Object(_)) | (FieldKind::Password, Value::Object(_)) => {
            Some(Value::String(given.to_string()))
        }
        (FieldKind::String | FieldKind::Password, _) => fields.text(&[key]).map(Value::String),
        (FieldKind::Boolean, _) => fields.flag(&[key]).map(Value::Bool),
        (FieldKind::Number, Value::Number(number)) => Some(Value::Number(number.clone())),
        (FieldKind::Number, Value::String(text)) => {
            let number = text.trim().parse::<Number>().ok();
            if number.is_none() {
                fields.mistake(key, "a number");
            }
            number.map(Value::Number)
        }
        (FieldKind::Number, Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) => {
            fields.mistake(key, "a number");
            None
        }
    };
    value.map_or(Read::Wrong, Read::Set)
}

/// The value of a field that is not set. A URL stands for the fields that a form shows at once, so that their defaults
/// would be parts of another one.
fn default(field: &Field, has_url: bool) -> Option<Value> {
    let text = field.default.as_ref().filter(|_| !(has_url && field.group == FieldGroup::Primary))?;
    match field.kind {
        FieldKind::String | FieldKind::Password => Some(Value::String(text.clone())),
        FieldKind::Boolean => text.parse().ok().map(Value::Bool),
        FieldKind::Number => text.parse().ok().map(Value::Number),
    }
}

fn missing(described: &Described) -> String {
    match described.manifest.supports_url {
        true => format!("a value, or a \"{URL_KEY}\""),
        false => "a value".to_owned(),
    }
}

fn secrets(described: &Described, values: &Map<String, Value>) -> Vec<Secret> {
    let is_password =
        |key: &str| described.manifest.field(key).is_some_and(|field| field.kind == FieldKind::Password);
    let texts = values.iter().filter_map(|(key, value)| Some((key, value.as_str()?)));
    let secrets = |(key, text): (&String, &str)| match is_password(key) {
        true => vec![Secret::new(text)],
        false => passwords_of(text),
    };
    texts.flat_map(secrets).collect()
}

/// The passwords of URLs, as they stand there and as the guest gives them to its server.
fn passwords_of(text: &str) -> Vec<Secret> {
    let passwords = addresses(text).filter_map(password_of);
    let both = |password: &str| {
        let plain = percent_decode_str(password).decode_utf8_lossy();
        let decoded = (plain != password).then(|| Secret::new(&*plain));
        [Secret::new(password)].into_iter().chain(decoded)
    };
    passwords.flat_map(both).collect()
}

/// The hosts that the settings name.
fn endpoints(
    described: &Described,
    values: &Map<String, Value>,
    fields: &mut ConfigFields<'_>,
) -> Vec<Endpoint> {
    let port = values.get(PORT_KEY).and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok());
    let mut endpoints = Vec::new();
    for key in &described.endpoints {
        let Some(text) = values.get(key).and_then(Value::as_str) else { continue };
        let found: Option<Vec<_>> =
            addresses(text).flat_map(hosts_of).map(|host| Endpoint::parse(&host, port)).collect();
        match found {
            Some(found) => endpoints.extend(found),
            None => fields.mistake(key, "a URL, or a host with an optional port"),
        }
    }
    endpoints
}

/// The addresses that stand in a setting, with commas between them. A URL has commas of its own, in its password, between
/// its hosts and in its path, so it reaches to the comma that another URL follows.
fn addresses(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest.take()?;
        let is_url = begins_url(text);
        let mut commas = text.match_indices(',').map(|(comma, _)| comma);
        let end = commas.find_map(|comma| {
            let (address, next) = (text.get(..comma)?, text.get(comma.saturating_add(1)..)?);
            (!is_url || begins_url(next)).then_some((address, next))
        });
        let (address, next) = end.map_or((text, None), |(address, next)| (address, Some(next)));
        rest = next;
        Some(address.trim())
    })
}

/// Looks no further than a scheme goes: a setting may be megabytes of data with a comma at every other place.
fn begins_url(text: &str) -> bool {
    let text = text.trim_start();
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    let scheme = text.bytes().take_while(allowed).count();
    scheme > 0 && text.get(scheme..).is_some_and(|rest| rest.starts_with("://"))
}

/// The scheme of a URL, its `user:password`, and its hosts with their ports.
fn parts_of(url: &str) -> Option<(&str, Option<&str>, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#', '\\']).next()?;
    Some(match authority.rsplit_once('@') {
        Some((user, hosts)) => (scheme, Some(user), hosts),
        None => (scheme, None, authority),
    })
}

/// The hosts of an address, each as if it stood alone: a URL may name several.
fn hosts_of(address: &str) -> Vec<String> {
    match parts_of(address) {
        Some((scheme, _, hosts)) => {
            hosts.split(',').map(|host| format!("{scheme}://{}", host.trim())).collect()
        }
        None => vec![address.to_owned()],
    }
}

fn password_of(address: &str) -> Option<&str> {
    let (_, user, _) = parts_of(address)?;
    Some(user?.split_once(':')?.1)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::bindings::types::{self, FieldType};
    use crate::describe::tests::{description, field};

    fn described(url: bool) -> Described {
        let endpoint = |field: types::Field| types::Field { endpoint: true, ..field };
        let required = |field: types::Field| types::Field { required: true, ..field };
        let mut description = description(vec![
            required(endpoint(field("host", FieldType::String))),
            field("port", FieldType::Number),
            field("password", FieldType::Password),
            field("tls", FieldType::Boolean),
            endpoint(field("mirror", FieldType::String)),
        ]);
        description.manifest.url_placeholder = url.then(|| "https://host".to_owned());
        Described::read(description).unwrap()
    }

    fn read(url: bool, config: Value) -> Result<Settings, String> {
        let config: SourceConfig = serde_json::from_value(config).unwrap();
        Settings::read(&described(url), &config).map_err(|mistakes| mistakes.to_string())
    }

    fn told(settings: &Settings) -> Value {
        serde_json::from_str(settings.config().expose()).unwrap()
    }

    #[test]
    fn texts_of_the_environment_become_what_the_manifest_says() {
        let settings = read(
            false,
            json!({
                "host": "db", "port": "9200", "password": 123_456, "tls": "yes", "mirror": "", "poolMax": "7", "other": 1,
            }),
        );
        let settings = settings.unwrap();
        assert_eq!(told(&settings), json!({"host": "db", "port": 9200, "password": "123456", "tls": true}));
        assert_eq!(settings.pool_max, 7);
        assert_eq!(settings.secrets, [Secret::new("123456")]);
    }

    #[test]
    fn structure_becomes_text_where_text_is_wanted() {
        let settings = read(false, json!({"host": "db", "mirror": "x"})).unwrap();
        assert_eq!(told(&settings)["mirror"], "x");
        let mistakes = read(false, json!({"host": {"a": [1]}})).unwrap_err();
        assert_eq!(
            mistakes, "host: expected a URL, or a host with an optional port",
            "it is no host, but it is text"
        );
        let settings = read(false, json!({"host": "db", "password": {"key": "pem"}})).unwrap();
        assert_eq!(told(&settings)["password"], r#"{"key":"pem"}"#);
        assert_eq!(settings.secrets, [Secret::new(r#"{"key":"pem"}"#)]);
    }

    #[test]
    fn every_mistake_is_named_and_no_value_shown() {
        let mistakes =
            read(false, json!({"port": "hunter2", "tls": "hunter2", "password": ["hunter2"]})).unwrap_err();
        assert_eq!(
            mistakes,
            "host: expected a value; port: expected a number; password: expected text; tls: expected true or false"
        );
        assert_eq!(read(true, json!({})).map(drop).unwrap_err(), "host: expected a value, or a \"url\"");
    }

    #[test]
    fn endpoints_are_the_hosts_that_the_settings_name() {
        let endpoint = |text: &str, port| Endpoint::parse(text, port).unwrap();
        let settings = read(false, json!({"host": "a, b:1", "port": 9200, "mirror": "https://c"})).unwrap();
        let expected = [endpoint("a", Some(9200)), endpoint("b", Some(1)), endpoint("c", Some(443))];
        assert_eq!(settings.endpoints, expected);
        assert_eq!(read(false, json!({"host": "a"})).unwrap().endpoints, [endpoint("a", None)]);
    }

    #[test]
    fn commas_of_a_url_are_its_own_except_between_hosts_and_urls() {
        let hosts = |text: &str| {
            let settings = read(false, json!({"host": text, "port": 9200}))?;
            Ok::<_, String>(settings.endpoints.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        for (text, expected) in [
            ("https://a/x,y?ids=1,2#z,", vec!["a:443"]),
            ("https://me:hun,ter2@a", vec!["a:443"]),
            ("mongodb://me:x@a:1,b:2,[::1]/db?hosts=c,d", vec!["a:1", "b:2", "[::1]:9200"]),
            ("https://a:1/x , http://b/y,z", vec!["a:1", "b:80"]),
            ("a, b:1 ,https://c,d:2", vec!["a:9200", "b:1", "c:443", "d:2"]),
            ("https://a/,https:/b", vec!["a:443"]),
        ] {
            assert_eq!(hosts(text).unwrap(), expected, "{text}");
        }
        for wrong in ["https://a,", "https://a,,b", "a,", ",https://a", "https://a:b", "https://", "://a"] {
            assert!(hosts(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn passwords_are_found_in_urls_of_several_hosts() {
        let settings =
            read(false, json!({"host": "mongodb://me:hun,%402@a:1,b:2/db,https://you:hunter3@c"})).unwrap();
        assert_eq!(settings.secrets, ["hun,%402", "hun,@2", "hunter3"].map(Secret::new));
    }

    #[test]
    fn what_is_not_set_has_its_default_but_a_default_opens_no_way_out() {
        let default =
            |field: types::Field, value: &str| types::Field { default: Some(value.to_owned()), ..field };
        let mut description = description(vec![
            types::Field {
                endpoint: true,
                required: true,
                ..default(field("host", FieldType::String), "db.acme.com")
            },
            default(field("port", FieldType::Number), "9200"),
            types::Field { advanced: true, ..default(field("tls", FieldType::Boolean), "true") },
            default(field("rows", FieldType::Number), "many"),
        ]);
        description.manifest.url_placeholder = Some("https://host".to_owned());
        let described = Described::read(description).unwrap();
        let read = |config: Value| {
            let config: SourceConfig = serde_json::from_value(config).unwrap();
            Settings::read(&described, &config).unwrap()
        };
        let bare = read(json!({}));
        assert_eq!(told(&bare), json!({"host": "db.acme.com", "port": 9200, "tls": true}));
        assert!(bare.endpoints.is_empty());
        let set = read(json!({"host": "db", "port": "1", "tls": false}));
        assert_eq!(told(&set), json!({"host": "db", "port": 1, "tls": false}));
        let url = read(json!({"url": "https://b"}));
        assert_eq!(told(&url), json!({"url": "https://b", "tls": true}));
    }

    #[test]
    fn megabytes_with_commas_are_read_in_one_pass() {
        let data = "1,".repeat(2_000_000);
        assert_eq!(addresses(&data).count(), 2_000_001);
        let url = format!("https://b/{data}");
        assert_eq!(addresses(&url).collect::<Vec<_>>(), [url.as_str()]);
    }

    #[test]
    fn a_url_stands_for_the_fields_where_the_manifest_has_one() {
        let settings = read(true, json!({"url": "https://me:hunter2@db.example.com/x"})).unwrap();
        assert_eq!(told(&settings), json!({"url": "https://me:hunter2@db.example.com/x"}));
        assert_eq!(settings.endpoints, [Endpoint::parse("db.example.com", Some(443)).unwrap()]);
        assert_eq!(settings.secrets, [Secret::new("hunter2")]);
        assert!(!format!("{settings:?}").contains("hunter2"));
        let escaped = read(true, json!({"url": "https://me:hunter%402@db.example.com/x"})).unwrap();
        assert_eq!(escaped.secrets, [Secret::new("hunter%402"), Secret::new("hunter@2")]);
        let ignored = read(false, json!({"host": "a", "url": "https://b"})).unwrap();
        assert_eq!(told(&ignored), json!({"host": "a"}));
    }
}
