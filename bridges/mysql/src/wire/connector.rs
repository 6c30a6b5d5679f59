//! From options to a connection: names to addresses, addresses in turn, and what `ssl-mode` prefers.

use std::sync::Arc;

use bridge_net::{Address, IpFamily, TlsClient, attempt_end};
use rustls::ClientConfig;
use tokio::time::{Instant, timeout_at};

use super::connection::Connection;
use super::dial;
use super::link::Link;
use super::login::{self, Session};
use super::{ConnectOptions, Endpoint, Roots, TlsMode, WireError, tls};

/// A statement that changes one of these settings in its session is reported, and the session is not used again. MySQL
/// passes over names that it does not know, MariaDB refuses them.
const TRACKED: [&str; 2] = [
    "SET session_track_system_variables = 'autocommit,character_set_client,character_set_connection,\
     character_set_results,collation_connection,group_concat_max_len,max_execution_time,\
     session_track_system_variables,sql_mode,sql_select_limit,time_zone,transaction_read_only'",
    "SET session_track_system_variables = 'autocommit,character_set_client,character_set_connection,\
     character_set_results,collation_connection,group_concat_max_len,max_statement_time,\
     session_track_system_variables,sql_mode,sql_select_limit,time_zone,tx_read_only'",
];

/// Makes connections to one server. Certificates and keys are read once, when it is loaded. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Connector(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    options: ConnectOptions,
    tls: Option<Arc<ClientConfig>>,
}

impl Connector {
    /// Reads the files that `options` name.
    pub(crate) async fn load(options: ConnectOptions) -> Result<Self, WireError> {
        let tls = tls::client_config(&options.tls).await?;
        Ok(Self(Arc::new(Parts { options, tls })))
    }

    /// Connects to the first address that answers, and prepares the session.
    pub(crate) async fn connect(&self, deadline: Instant) -> Result<Connection, WireError> {
        let mut last = WireError::Timeout;
        for address in self.addresses(deadline).await? {
            match self.bounded(deadline, self.session_at(&address)).await {
                Err(error @ (WireError::Connect { .. } | WireError::Timeout | WireError::Closed)) => {
                    last = error
                }
                decided => return decided,
            }
        }
        Err(last)
    }

    /// Kills what runs on the connection `id` at `address`: only its statement, or all of it.
    pub(super) async fn kill(
        &self,
        address: &Address,
        id: u32,
        only_statement: bool,
        deadline: Instant,
    ) -> Result<(), WireError> {
        let kill = async {
            let (link, session) = self.log_in(address).await?;
            let mut connection =
                Connection::new(self.clone(), address.clone(), link, session, &self.0.options);
            let statement = if only_statement { "QUERY" } else { "CONNECTION" };
            let killed = connection.simple(&format!("KILL {statement} {id}")).await;
            connection.close().await;
            killed
        };
        self.bounded(deadline, kill).await
    }

    async fn session_at(&self, address: &Address) -> Result<Connection, WireError> {
        let (link, session) = self.log_in(address).await?;
        let options = &self.0.options;
        let mut connection = Connection::new(self.clone(), address.clone(), link, session, options);
        for statement in options.session {
            connection.simple(statement).await?;
        }
        let [of_mysql, of_mariadb] = TRACKED;
        let tracked = if session.is_mariadb { of_mariadb } else { of_mysql };
        for wish in options.wishes.iter().chain([&tracked]) {
            match connection.simple(wish).await {
                Err(WireError::Server(refusal)) if !refusal.ends_session() => {
                    tracing::debug!(number = refusal.number, "the server does not know a session setting");
                }
                decided => decided?,
            }
        }
        Ok(connection)
    }

    async fn log_in(&self, address: &Address) -> Result<(Link, Session), WireError> {
        let options = &self.0.options;
        let client = self.tls_client(address)?;
        let first = self.attempt(address, client.as_ref()).await;
        let gives_up = options.tls.mode == TlsMode::Preferred && options.tls.roots == Roots::Unset;
        match first {
            Err(WireError::Tls(_)) if gives_up => self.attempt(address, None).await,
            decided => decided,
        }
    }

    async fn attempt(
        &self,
        address: &Address,
        client: Option<&TlsClient>,
    ) -> Result<(Link, Session), WireError> {
        let (socket, privacy) = dial::open(address).await?;
        let required = self.0.options.tls.mode != TlsMode::Preferred;
        login::log_in(socket, privacy, client, required, &self.0.options).await
    }

    fn tls_client(&self, address: &Address) -> Result<Option<TlsClient>, WireError> {
        match (address, &self.0.options.endpoint, &self.0.tls) {
            (Address::Tcp(_), Endpoint::Tcp { host, .. }, Some(config)) => {
                Ok(Some(TlsClient::new(Arc::clone(config), host)?))
            }
            _ => Ok(None),
        }
    }

    async fn addresses(&self, deadline: Instant) -> Result<Vec<Address>, WireError> {
        match &self.0.options.endpoint {
            Endpoint::Unix { path } => Ok(vec![Address::Unix(path.clone())]),
            Endpoint::Tcp { host, port } => {
                let resolved = timeout_at(deadline, bridge_net::resolve(host, *port, IpFamily::Any)).await;
                let resolved = resolved.map_err(|_| WireError::Timeout)?;
                let resolved = resolved.map_err(|source| WireError::Dns { host: host.to_owned(), source })?;
                Ok(resolved.into_iter().map(Address::Tcp).collect())
            }
        }
    }

    /// Within `connect_timeout` and the deadline.
    async fn bounded<T>(
        &self,
        deadline: Instant,
        work: impl Future<Output = Result<T, WireError>>,
    ) -> Result<T, WireError> {
        let end = attempt_end(self.0.options.connect_timeout, deadline);
        timeout_at(end, work).await.map_err(|_| WireError::Timeout)?
    }
}
