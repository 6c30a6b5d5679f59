//! A source's configuration as its plugin gets it: the manifest's keys alone, each of the type that the manifest says.

use bridge_core::{ConfigFields, ConfigMistakes};
use percent_encoding::percent_decode_str;
use protocol::{Field, FieldKind, Secret, SourceConfig};
use serde_json::{Map, Number, Value};
use url::Url;

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
        let mut values = Map::new();
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
                Read::Unset if field.required && !has_url => fields.mistake(&field.key, missing(described)),
                Read::Unset => {}
            }
        }
        let pool_max = fields.integer(&["pool.max", POOL_MAX_KEY], 1..=MAX_POOL);
        let endpoints = endpoints(described, &values, &mut fields);
        let secrets = secrets(described, &values);
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
        (FieldKind::String, Value::Array(_) | Value::Object(_)) => Some(Value::String(given.to_string())),
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
        false => password_of(text),
    };
    texts.flat_map(secrets).collect()
}

/// The password of a URL, as it stands there and as the guest gives it to its server.
fn password_of(text: &str) -> Vec<Secret> {
    let Ok(url) = Url::parse(text) else { return Vec::new() };
    let Some(password) = url.password() else { return Vec::new() };
    let plain = percent_decode_str(password).decode_utf8_lossy();
    let decoded = (plain != password).then(|| Secret::new(&*plain));
    [Secret::new(password)].into_iter().chain(decoded).collect()
}

/// The hosts that the settings name. Several may stand in one setting, with commas between them.
fn endpoints(
    described: &Described,
    values: &Map<String, Value>,
    fields: &mut ConfigFields<'_>,
) -> Vec<Endpoint> {
    let port = values.get(PORT_KEY).and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok());
    let mut endpoints = Vec::new();
    for key in &described.endpoints {
        let Some(text) = values.get(key).and_then(Value::as_str) else { continue };
        for part in text.split(',').map(str::trim) {
            match Endpoint::parse(part, port) {
                Some(endpoint) => endpoints.push(endpoint),
                None => fields.mistake(key, "a URL, or a host with an optional port"),
            }
        }
    }
    endpoints
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
