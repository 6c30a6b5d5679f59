//! The settings of a source.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use semilayer_plugin::http::Client;
use semilayer_plugin::net::Tls;
use semilayer_plugin::{Description, Error, Field, Mistake};
use serde::Deserialize;

const ALWAYS_VERIFIED: &str =
    "true, or nothing: certificates are always verified; name the authority that signed yours in \"ca\"";

/// Nodes of both kinds would send the password in the clear as soon as those that encrypt cannot be reached.
const NODES: &str =
    "a URL that begins with http:// or https://, or several of one kind with commas between them";

/// Where the cluster is, and who asks.
#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Config {
    /// One URL, or several with commas between them.
    pub(crate) node: String,
    pub(crate) api_key: Option<String>,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) ca: Option<String>,
    pub(crate) client_certificate: Option<String>,
    pub(crate) client_key: Option<String>,
    pub(crate) server_name: Option<String>,
    pub(crate) reject_unauthorized: Option<bool>,
    /// The published bridge's way to say the same, as JSON.
    pub(crate) tls: Option<String>,
}

/// What may stand in `tls`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct TlsObject {
    ca: Option<String>,
    cert: Option<String>,
    key: Option<String>,
    servername: Option<String>,
    reject_unauthorized: Option<bool>,
}

/// Adds the settings to a description.
pub(crate) fn fields(description: Description) -> Description {
    description
        .field(
            Field::text("node", "Node URL")
                .required()
                .endpoint()
                .placeholder("https://search.example.com:9200")
                .hint("One URL, or several nodes of one cluster with commas between them."),
        )
        .field(Field::password("apiKey", "API Key").hint("As it was given out, or as id:key.").advanced())
        .field(Field::text("username", "Username").advanced())
        .field(Field::password("password", "Password").advanced())
        .field(
            Field::text("ca", "Certificate Authority")
                .hint("PEM certificates to trust instead of the runner's own roots.")
                .advanced(),
        )
        .field(Field::text("clientCertificate", "Client Certificate").hint("PEM, with its chain.").advanced())
        .field(Field::password("clientKey", "Client Key").hint("PEM.").advanced())
        .field(
            Field::text("serverName", "Server Name")
                .hint("The name that the server's certificate has, where it is not the node's.")
                .advanced(),
        )
        .field(
            Field::boolean("rejectUnauthorized", "Reject Unauthorized")
                .default("true")
                .hint("Certificates are always verified; this cannot be switched off.")
                .advanced(),
        )
        .field(
            Field::password("tls", "TLS")
                .hint("The same as JSON: an object with ca, cert, key and servername.")
                .advanced(),
        )
}

impl Config {
    /// What serde cannot see.
    pub(crate) fn mistakes(&self) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        let mut wrong = |field: &str, expected: &str| mistakes.push(Mistake::new(field, expected));
        let all_begin = |scheme: &str| self.nodes().all(|node| node.starts_with(scheme));
        let is_encrypted = all_begin("https://");
        if self.nodes().next().is_none() || !(is_encrypted || all_begin("http://")) {
            wrong("node", NODES);
        } else if !is_encrypted && self.has_tls_settings() {
            wrong("node", "a URL that begins with https://, because there are settings of TLS");
        }
        if self.reject_unauthorized == Some(false) {
            wrong("rejectUnauthorized", ALWAYS_VERIFIED);
        }
        if self.password.is_some() && self.username.is_none() {
            wrong("username", "a value beside the password");
        }
        match self.tls() {
            None => wrong("tls", "a JSON object with ca, cert, key and servername"),
            Some(tls) => {
                if tls.reject_unauthorized == Some(false) {
                    wrong("tls", ALWAYS_VERIFIED);
                }
                let certificate = self.client_certificate.is_some() || tls.cert.is_some();
                let key = self.client_key.is_some() || tls.key.is_some();
                if certificate != key {
                    let missing = if certificate { "clientKey" } else { "clientCertificate" };
                    wrong(missing, "a value: a client's certificate and its key go together");
                }
            }
        }
        mistakes
    }

    /// A client of each node.
    pub(crate) fn clients(&self) -> Result<Vec<Client>, Error> {
        let tls = self.tls_options();
        self.nodes()
            .map(|node| {
                let client = Client::new(node).map_err(|error| error.field("node"))?;
                let client = self.authorized(client).redirects(0);
                Ok(if node.starts_with("https://") { client.tls(tls.clone()) } else { client })
            })
            .collect()
    }

    /// Whether there are settings that mean nothing without TLS. `rejectUnauthorized` has a default and says nothing.
    fn has_tls_settings(&self) -> bool {
        let object = self.tls().unwrap_or_default();
        let own = [&self.ca, &self.client_certificate, &self.client_key, &self.server_name];
        own.into_iter()
            .chain([&object.ca, &object.cert, &object.key, &object.servername])
            .any(Option::is_some)
    }

    fn nodes(&self) -> impl Iterator<Item = &str> {
        self.node.split(',').map(str::trim).filter(|node| !node.is_empty())
    }

    /// The key counts where there is a user, too; a user in the URL is the least of them.
    fn authorized(&self, client: Client) -> Client {
        match (&self.api_key, &self.username) {
            (Some(key), _) => client.header("authorization", &format!("ApiKey {}", encoded(key))),
            (None, Some(user)) => client.basic(user, self.password.as_deref().unwrap_or_default()),
            (None, None) => client,
        }
    }

    fn tls_options(&self) -> Tls {
        let object = self.tls().unwrap_or_default();
        let mut tls = Tls::new();
        if let Some(ca) = self.ca.as_ref().or(object.ca.as_ref()) {
            tls = tls.ca(ca);
        }
        if let Some(name) = self.server_name.as_ref().or(object.servername.as_ref()) {
            tls = tls.server_name(name);
        }
        let certificate = self.client_certificate.as_ref().or(object.cert.as_ref());
        match certificate.zip(self.client_key.as_ref().or(object.key.as_ref())) {
            Some((certificate, key)) => tls.identity(certificate, key),
            None => tls,
        }
    }

    fn tls(&self) -> Option<TlsObject> {
        match self.tls.as_deref().map(str::trim) {
            None | Some("") => Some(TlsObject::default()),
            Some(text) => serde_json::from_str(text).ok(),
        }
    }
}

/// Without what is nobody's business.
impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config").finish_non_exhaustive()
    }
}

/// A key as the server wants it: `id:key` in base64, which newer servers also give out as such.
fn encoded(key: &str) -> String {
    if key.contains(':') { STANDARD.encode(key) } else { key.to_owned() }
}

#[cfg(test)]
mod tests {
    use semilayer_plugin::http::{Incoming, Outgoing};

    use super::*;

    fn at(node: &str) -> Config {
        Config { node: node.to_owned(), ..Config::default() }
    }

    fn fields(config: &Config) -> Vec<String> {
        config.mistakes().into_iter().map(|mistake| mistake.field).collect()
    }

    fn authorization(config: &Config) -> Option<String> {
        let client = config.clients().unwrap().remove(0).over(|request: &Outgoing| {
            let found = request.headers.iter().find(|(name, _)| name == "authorization");
            Ok(Incoming::new(200).header("seen", found.map_or("", |(_, value)| value)))
        });
        let seen = client.get("").send().unwrap();
        seen.header("seen").filter(|seen| !seen.is_empty()).map(str::to_owned)
    }

    #[test]
    fn every_mistake_is_named() {
        assert!(at("https://a:9200, https://b").mistakes().is_empty());
        assert!(at("http://a:9200,http://b").mistakes().is_empty());
        assert_eq!(fields(&at("")), ["node"]);
        assert_eq!(fields(&at("https://a, b:9200")), ["node"]);
        let config = Config {
            password: Some("secret".to_owned()),
            client_key: Some("key".to_owned()),
            reject_unauthorized: Some(false),
            ..at("https://a")
        };
        assert_eq!(fields(&config), ["rejectUnauthorized", "username", "clientCertificate"]);
        let tls = |text: &str| Config { tls: Some(text.to_owned()), ..at("https://a") };
        assert_eq!(fields(&tls(r#"{"rejectUnauthorized":false}"#)), ["tls"]);
        assert_eq!(fields(&tls(r#"{"cert":"x","key":"y"}"#)), [""; 0]);
        assert_eq!(fields(&tls("true")), ["tls"]);
    }

    #[test]
    fn nothing_goes_in_the_clear_that_was_meant_to_be_encrypted() {
        assert_eq!(fields(&at("https://a:9200, http://b")), ["node"]);
        let ca = |node: &str| Config { ca: Some("pem".to_owned()), ..at(node) };
        assert_eq!(fields(&ca("http://a")), ["node"]);
        assert_eq!(fields(&ca("https://a")), [""; 0]);
        let object = Config { tls: Some(r#"{"servername":"search"}"#.to_owned()), ..at("http://a") };
        assert_eq!(fields(&object), ["node"]);
        // A default that every source has.
        let always = Config { reject_unauthorized: Some(true), tls: Some("{}".to_owned()), ..at("http://a") };
        assert_eq!(fields(&always), [""; 0]);
    }

    #[test]
    fn the_api_key_counts_before_the_user() {
        let user =
            Config { username: Some("me".to_owned()), password: Some("pw".to_owned()), ..at("http://u:v@a") };
        assert_eq!(authorization(&user).unwrap(), "Basic bWU6cHc=");
        let key = Config { api_key: Some("id:key".to_owned()), ..user };
        assert_eq!(authorization(&key).unwrap(), "ApiKey aWQ6a2V5");
        let encoded = Config { api_key: Some("aWQ6a2V5".to_owned()), ..at("http://a") };
        assert_eq!(authorization(&encoded).unwrap(), "ApiKey aWQ6a2V5");
        assert_eq!(authorization(&at("http://u:v@a")).unwrap(), "Basic dTp2");
        assert_eq!(authorization(&at("http://a")), None);
    }
}
