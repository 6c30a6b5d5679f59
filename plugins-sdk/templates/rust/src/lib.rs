//! Template as a bridge.
//!
//! The runner asks for targets, their columns and pages of their rows; it filters, orders, counts and aggregates by
//! itself. What the service does better, a bridge may take over: see `Bridge::PROVIDES`.

use semilayer_plugin::options::ReadOptions;
use semilayer_plugin::{Bridge, Column, Description, Error, Field, Kind, Rows, Schema, http};
use serde::Deserialize;

/// The service, as one source of a runner reaches it.
#[derive(Debug)]
pub struct Connection {
    client: http::Client,
}

/// The settings of a source, by the keys that `describe` gives them.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Config {
    base_url: String,
    token: Option<String>,
}

impl Bridge for Connection {
    type Config = Config;

    fn describe() -> Description {
        Description::new("@example/bridge-template", "Template")
            .version(env!("CARGO_PKG_VERSION"))
            // An endpoint is a host that the plugin may connect to. All others the operator must allow.
            .field(
                Field::text("baseUrl", "Base URL")
                    .required()
                    .endpoint()
                    .placeholder("https://api.acme.com/v1"),
            )
            .field(Field::password("token", "API token"))
    }

    fn connect(config: Config) -> Result<Self, Error> {
        let client = http::Client::new(&config.base_url).map_err(|error| error.field("baseUrl"))?;
        let client = match &config.token {
            Some(token) => client.bearer(token),
            None => client,
        };
        Ok(Self { client })
    }

    fn targets(&mut self) -> Result<Vec<String>, Error> {
        Ok(vec!["things".to_owned()])
    }

    fn schema(&mut self, target: &str) -> Result<Schema, Error> {
        match target {
            "things" => {
                Ok(Schema::new([Column::new("id", Kind::Int64).key(), Column::new("name", Kind::Text)]))
            }
            _ => Err(Error::not_found(target)),
        }
    }

    /// At most `options.limit` rows in the order of the key, from `options.cursor` on. With a `Thing` that derives
    /// `Deserialize` and `Serialize`, and a service that gives things behind an id, as many at once as it likes:
    ///
    /// ```text
    /// let after = options.cursor.unwrap_or_else(|| "0".to_owned());
    /// let behind = |page: &Vec<Thing>| page.last().map(|thing| thing.id.to_string());
    /// let pages = self.client.get(target).query("after", after).pages(http::next_cursor("after", behind));
    /// Ok(Rows::scan(pages, options.limit, |thing| thing.id.to_string()))
    /// ```
    fn read(&mut self, target: &str, options: ReadOptions) -> Result<Rows, Error> {
        self.schema(target)?;
        let _request = self.client.get(target).query("limit", options.limit);
        Err(Error::internal("read is still to be written, in src/lib.rs"))
    }
}

semilayer_plugin::export!(Connection);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_has_columns() {
        let config = Config { base_url: "http://localhost:8080".to_owned(), token: None };
        let mut connection = Connection::connect(config).unwrap();
        for target in connection.targets().unwrap() {
            assert!(!connection.schema(&target).unwrap().columns.is_empty());
        }
    }
}
