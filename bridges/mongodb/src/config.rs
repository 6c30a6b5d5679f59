//! A source's settings: a URL as MongoDB's drivers read it, and fields beside it; every mistake at once, none with a value
//! in it.

use std::time::Duration;

use bridge_core::{ConfigFields, ConfigMistakes};
use mongodb::options::ConnectionString;
use protocol::{Secret, SourceConfig};

const DEFAULT_POOL: u32 = 3;
const MAX_POOL: i64 = 1_000;
const DEFAULT_CONNECT_TIMEOUT_MS: i64 = 10_000;
const DAY_MS: i64 = 86_400_000;
/// What a URL without a database means, as the published bridge has it.
const DEFAULT_DATABASE: &str = "test";
/// The server's limit.
const MAX_DATABASE_NAME: usize = 63;

/// Everything that a source needs.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) url: Secret,
    pub(crate) database: String,
    pub(crate) pool_min: Option<u32>,
    pub(crate) pool_max: u32,
    pub(crate) connect_timeout: Duration,
    pub(crate) app_name: Option<String>,
    pub(crate) tls: Tls,
}

/// What is said of TLS beside the URL. Each is the text of a PEM file or its path.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tls {
    pub(crate) enabled: Option<bool>,
    pub(crate) ca: Option<Secret>,
    pub(crate) certificate: Option<Secret>,
    pub(crate) key: Option<Secret>,
}

impl Settings {
    /// Reads a configuration.
    pub(crate) fn read(config: &SourceConfig) -> Result<Self, ConfigMistakes> {
        let mut fields = ConfigFields::new(config);
        let url = fields.secret(&["url", "connectionString", "uri"]);
        let parsed = url.as_ref().and_then(|url| parse(url, &mut fields));
        if url.is_none() {
            fields.mistake("url", "a MongoDB URL (MongodbBridge requires a \"url\" config string)");
        }
        let database = fields.text(&["database", "db"]);
        if database.as_deref().is_some_and(|name| !is_database(name)) {
            fields.mistake("database", "the name of a database: 1 to 63 bytes without any of /\\. \"$*<>:|?");
        }
        let of_url = |get: fn(&ConnectionString) -> Option<u32>| parsed.as_ref().and_then(get);
        let pool_max = count(&mut fields, &["pool.max", "poolMax"], 1..=MAX_POOL)
            .or_else(|| of_url(|it| it.max_pool_size));
        let pool_min = count(&mut fields, &["pool.min", "poolMin"], 0..=MAX_POOL)
            .or_else(|| of_url(|it| it.min_pool_size));
        let timeout = fields.integer(&["connectionTimeoutMillis", "connectTimeoutMS"], 1..=DAY_MS);
        let timeout = timeout.map(|ms| Duration::from_millis(ms.unsigned_abs()));
        let settings = Self {
            database: database
                .or_else(|| parsed.as_ref().and_then(|url| url.default_database.clone()))
                .unwrap_or_else(|| DEFAULT_DATABASE.to_owned()),
            pool_max: pool_max.filter(|max| *max > 0).unwrap_or(DEFAULT_POOL),
            pool_min,
            connect_timeout: timeout
                .or_else(|| parsed.as_ref().and_then(|url| url.connect_timeout))
                .unwrap_or(Duration::from_millis(DEFAULT_CONNECT_TIMEOUT_MS.unsigned_abs())),
            app_name: parsed.as_ref().and_then(|url| url.app_name.clone()),
            tls: tls(&mut fields),
            url: url.unwrap_or_default(),
        };
        fields.finish(settings)
    }
}

/// The driver's words may quote the URL, so only what is expected is said.
fn parse(url: &Secret, fields: &mut ConfigFields<'_>) -> Option<ConnectionString> {
    match ConnectionString::parse(url.expose()) {
        Ok(parsed) => Some(parsed),
        Err(_) => {
            fields.mistake(
                "url",
                "mongodb://user:password@host:27017/database or mongodb+srv://…, percent-encoded, with options that \
                 MongoDB's drivers know",
            );
            None
        }
    }
}

fn count(fields: &mut ConfigFields<'_>, names: &[&str], range: std::ops::RangeInclusive<i64>) -> Option<u32> {
    fields.integer(names, range).and_then(|count| u32::try_from(count).ok())
}

fn tls(fields: &mut ConfigFields<'_>) -> Tls {
    let tls = Tls {
        enabled: fields.flag(&["ssl", "tls"]),
        ca: fields.secret(&["tlsCA", "tlsCAFile", "sslrootcert"]),
        certificate: fields.secret(&["tlsCertificate", "sslcert"]),
        key: fields.secret(&["tlsKey", "sslkey"]),
    };
    match (&tls.certificate, &tls.key) {
        (Some(_), None) => fields.mistake("tlsKey", "the key of tlsCertificate"),
        (None, Some(_)) => fields.mistake("tlsCertificate", "the certificate of tlsKey"),
        (Some(_), Some(_)) | (None, None) => {}
    }
    if tls.enabled == Some(false) && (tls.ca.is_some() || tls.certificate.is_some()) {
        fields.mistake("ssl", "true together with certificates");
    }
    tls
}

fn is_database(name: &str) -> bool {
    let forbidden = ['/', '\\', '.', ' ', '"', '$', '*', '<', '>', ':', '|', '?', '\0'];
    !name.is_empty() && name.len() <= MAX_DATABASE_NAME && !name.contains(forbidden)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Settings, String> {
        Settings::read(&serde_json::from_str(json).unwrap()).map_err(|mistakes| mistakes.to_string())
    }

    #[test]
    fn the_database_is_the_fields_then_the_urls_then_test() {
        let database = |json: &str| read(json).unwrap().database;
        assert_eq!(database(r#"{"url":"mongodb://h/a","database":"b"}"#), "b");
        assert_eq!(database(r#"{"url":"mongodb://h/a?directConnection=true"}"#), "a");
        assert_eq!(database(r#"{"connectionString":"mongodb://h"}"#), "test");
        assert_eq!(database(r#"{"url":"mongodb+srv://u:p@cluster.example.com/","db":"7"}"#), "7");
    }

    #[test]
    fn numbers_are_read_in_either_spelling() {
        let settings =
            read(r#"{"url":"mongodb://h","pool":{"max":"5","min":0},"connectionTimeoutMillis":"250"}"#);
        let settings = settings.unwrap();
        assert_eq!((settings.pool_max, settings.pool_min), (5, Some(0)));
        assert_eq!(settings.connect_timeout, Duration::from_millis(250));
        assert_eq!(read(r#"{"url":"mongodb://h"}"#).unwrap().pool_max, 3);
        assert_eq!(read(r#"{"url":"mongodb://h/?maxPoolSize=9"}"#).unwrap().pool_max, 9);
        assert_eq!(read(r#"{"url":"mongodb://h/?maxPoolSize=9","poolMax":2}"#).unwrap().pool_max, 2);
    }

    #[test]
    fn every_mistake_is_reported_by_name_and_without_a_value() {
        let mistakes =
            read(r#"{"database":"a.hunter2","poolMax":"hunter2","ssl":"hunter2","tlsKey":"hunter2"}"#)
                .unwrap_err();
        for field in ["url: ", "database: ", "pool", "ssl: ", "tlsCertificate: "] {
            assert!(mistakes.contains(field), "{field} {mistakes}");
        }
        assert!(mistakes.contains("MongodbBridge requires a \"url\" config string"));
        assert!(!mistakes.contains("hunter2"), "{mistakes}");
    }

    #[test]
    fn a_url_that_is_none_is_refused_without_showing_it() {
        for url in [
            "hunter2",
            "postgres://u:hunter2@h/d",
            "mongodb://u:hunter2@h:99999/d",
            "mongodb://u:hunter2@@h/d",
            "mongodb://h/?maxPoolSize=hunter2",
        ] {
            let mistakes = read(&format!(r#"{{"url":"{url}"}}"#)).unwrap_err();
            assert!(mistakes.starts_with("url: expected "), "{url}: {mistakes}");
            assert!(!mistakes.contains("hunter2"), "{mistakes}");
        }
    }

    #[test]
    fn settings_do_not_print_their_secrets() {
        let settings = read(r#"{"url":"mongodb://u:hunter2@h/d"}"#).unwrap();
        assert!(!format!("{settings:?}").contains("hunter2"));
    }
}
