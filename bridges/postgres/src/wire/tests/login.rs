//! Ways in, against a real server.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::scripted::{soon, text};
use super::server::{server, server_with_socket};
use crate::wire::{
    AuthError, ChannelBinding, ClientIdentity, ConnectOptions, Connection, Connector, Endpoint, IpFamily,
    Pem, Roots, Step, TlsError, TlsMode, TlsNegotiation, WireError,
};

/// The first value of a statement's first row.
async fn answer(connection: &mut Connection, sql: &str) -> String {
    let mut rows = connection.query(&text(sql)).await.unwrap();
    let mut answer = None;
    while rows
        .next_rows(|row| {
            answer = row.value(0).map(|value| String::from_utf8(value.to_vec()).unwrap());
            ControlFlow::<()>::Continue(())
        })
        .await
        .unwrap()
        != Step::Done
    {}
    answer.unwrap()
}

async fn connect(options: &ConnectOptions) -> Result<Connection, WireError> {
    Connection::connect(options, soon()).await
}

async fn user(options: &ConnectOptions) -> String {
    answer(&mut connect(options).await.unwrap(), "select session_user::text").await
}

const IS_ENCRYPTED: &str = "select ssl::text from pg_stat_ssl where pid = pg_backend_pid()";

async fn is_encrypted(options: &ConnectOptions) -> bool {
    answer(&mut connect(options).await.unwrap(), IS_ENCRYPTED).await == "true"
}

fn rejection_code(result: Result<Connection, WireError>) -> String {
    match result {
        Err(WireError::Auth(AuthError::Rejected(error))) => error.code,
        other => panic!("expected a rejection, got {other:?}"),
    }
}

/// Listens at `address` and lets `serve` deal with every client. Returns the port.
async fn listen<F, S>(address: &str, serve: S) -> u16
where
    F: Future<Output = io::Result<()>> + Send,
    S: Fn(TcpStream) -> F + Send + 'static,
{
    let listener = TcpListener::bind((address, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    #[expect(clippy::disallowed_methods, reason = "ends with the test's runtime")]
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            // What a client loses by this, its test notices.
            serve(client).await.ok();
        }
    });
    port
}

async fn forward(mut client: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    let mut upstream = TcpStream::connect(("127.0.0.1", server().port)).await?;
    tokio::io::copy_bidirectional(&mut client, &mut upstream).await.map(|_| ())
}

/// Another address for the server, one that its certificate does not name.
async fn alias() -> u16 {
    listen("127.0.0.2", forward).await
}

/// The server as if it were built without TLS.
async fn without_tls() -> u16 {
    listen("127.0.0.2", |mut client| async move {
        let mut request = [0; 8];
        if client.peek(&mut request).await? == 8 && request[4..] == 80_877_103_u32.to_be_bytes() {
            client.read_exact(&mut request).await?;
            client.write_all(b"N").await?;
        }
        forward(client).await
    })
    .await
}

/// The server behind a proxy that speaks TLS from the first byte.
async fn tls_from_the_start() -> u16 {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["db".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.into()], PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap())
        .unwrap();
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    listen("127.0.0.2", move |client| {
        let accepting = acceptor.accept(client);
        async { forward(accepting.await?).await }
    })
    .await
}

fn under_alias(mut options: ConnectOptions, port: u16) -> ConnectOptions {
    options.endpoints = vec![Endpoint::Tcp { host: "127.0.0.2".to_owned(), port }];
    options
}

fn identity(certificate: &Path, key: &Path) -> ClientIdentity {
    ClientIdentity { certificate: Pem::File(certificate.to_owned()), key: Pem::File(key.to_owned()) }
}

fn ca() -> Roots {
    Roots::Given(Pem::File(server().ca.clone()))
}

fn other_ca() -> Roots {
    Roots::Given(Pem::File(server().other_ca.clone()))
}

#[tokio::test]
async fn scram_and_md5_passwords_open_the_door() {
    assert_eq!(user(&server().options("app")).await, "app");
    assert_eq!(user(&server().options("legacy")).await, "legacy");
}

#[tokio::test]
async fn a_wrong_password_is_an_authentication_error_with_the_servers_code() {
    for role in ["app", "legacy"] {
        let options = ConnectOptions { password: Some("wrong".to_owned().into()), ..server().options(role) };
        assert_eq!(rejection_code(connect(&options).await), "28P01");
    }
}

#[tokio::test]
async fn a_clear_text_password_is_sent_through_tls_only() {
    let refused = connect(&server().options("cleartext")).await;
    assert!(matches!(refused, Err(WireError::Auth(AuthError::ClearText))));
    assert_eq!(user(&server().encrypted("cleartext", TlsMode::Require, Roots::Unset)).await, "cleartext");
}

#[tokio::test]
async fn another_database_or_setting_that_does_not_exist_is_the_servers_error() {
    let options = ConnectOptions { database: "nowhere".to_owned(), ..server().options("app") };
    assert!(matches!(connect(&options).await, Err(WireError::Server(error)) if error.code == "3D000"));
    let mut options = server().options("app");
    options.parameters = vec![("no_such_setting".to_owned(), "1".to_owned())];
    assert!(matches!(connect(&options).await, Err(WireError::Server(error)) if error.code == "42704"));
}

#[tokio::test]
async fn startup_parameters_hold_for_the_session() {
    let mut options = server().options("app");
    options.application_name = "wire test".to_owned();
    options.parameters = [("TimeZone", "Asia/Tokyo"), ("default_transaction_read_only", "on")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec();
    let mut connection = connect(&options).await.unwrap();
    assert_eq!(answer(&mut connection, "show timezone").await, "Asia/Tokyo");
    assert_eq!(answer(&mut connection, "show application_name").await, "wire test");
    assert_eq!(answer(&mut connection, "show client_encoding").await, "UTF8");
    let refused = connection.simple("create table never (a int)").await;
    assert!(matches!(refused, Err(WireError::Server(error)) if error.code == "25006"));
}

#[tokio::test]
async fn each_mode_encrypts_as_libpq_says() {
    let server = server();
    for (mode, encrypted) in [
        (TlsMode::Disable, false),
        (TlsMode::Allow, false),
        (TlsMode::Prefer, true),
        (TlsMode::Require, true),
    ] {
        assert_eq!(is_encrypted(&server.encrypted("app", mode, Roots::Unset)).await, encrypted, "{mode:?}");
    }
}

#[tokio::test]
async fn a_role_that_needs_tls_is_refused_without_and_found_by_allow() {
    let server = server();
    assert_eq!(rejection_code(connect(&server.options("tlsonly")).await), "28000");
    assert!(is_encrypted(&server.encrypted("tlsonly", TlsMode::Allow, Roots::Unset)).await);
    assert!(is_encrypted(&server.encrypted("tlsonly", TlsMode::Prefer, Roots::Unset)).await);
}

#[tokio::test]
async fn a_server_without_tls_is_fine_for_prefer_and_refused_by_require() {
    let port = without_tls().await;
    assert!(
        !is_encrypted(&under_alias(server().encrypted("app", TlsMode::Prefer, Roots::Unset), port)).await
    );
    let refused =
        connect(&under_alias(server().encrypted("app", TlsMode::Require, Roots::Unset), port)).await;
    assert!(matches!(refused, Err(WireError::Tls(TlsError::NotOffered))));
}

#[tokio::test]
async fn tls_may_begin_without_asking_for_it() {
    let mut options =
        under_alias(server().encrypted("app", TlsMode::Require, Roots::Unset), tls_from_the_start().await);
    options.tls.negotiation = TlsNegotiation::Direct;
    assert_eq!(user(&options).await, "app");
    options.tls.negotiation = TlsNegotiation::Postgres;
    assert!(connect(&options).await.is_err());
}

#[tokio::test]
async fn verify_full_accepts_the_right_authority_and_name() {
    assert!(is_encrypted(&server().encrypted("app", TlsMode::VerifyFull, ca())).await);
}

#[tokio::test]
async fn a_wrong_authority_is_refused_by_every_mode_that_has_roots() {
    for mode in [TlsMode::Require, TlsMode::VerifyCa, TlsMode::VerifyFull] {
        let refused = connect(&server().encrypted("app", mode, other_ca())).await;
        assert!(matches!(refused, Err(WireError::Tls(TlsError::Certificate(_)))), "{mode:?}: {refused:?}");
    }
}

#[tokio::test]
async fn prefer_goes_on_unencrypted_when_the_handshake_fails() {
    assert!(!is_encrypted(&server().encrypted("app", TlsMode::Prefer, other_ca())).await);
}

#[tokio::test]
async fn a_name_that_is_not_in_the_certificate_is_refused_by_verify_full_alone() {
    let port = alias().await;
    let refused = connect(&under_alias(server().encrypted("app", TlsMode::VerifyFull, ca()), port)).await;
    assert!(matches!(refused, Err(WireError::Tls(TlsError::Certificate(_)))), "{refused:?}");
    assert!(is_encrypted(&under_alias(server().encrypted("app", TlsMode::VerifyCa, ca()), port)).await);
}

#[tokio::test]
async fn a_client_certificate_opens_the_door_and_its_absence_does_not() {
    let server = server();
    let mut options = server.encrypted("mtls", TlsMode::VerifyFull, ca());
    assert_eq!(rejection_code(connect(&options).await), "28000");
    options.tls.identity = Some(identity(&server.client_cert, &server.client_key));
    assert_eq!(user(&options).await, "mtls");
}

#[tokio::test]
async fn a_key_that_is_not_the_certificates_is_refused_before_connecting() {
    let server = server();
    let mut options = server.encrypted("mtls", TlsMode::Require, Roots::Unset);
    options.tls.identity = Some(identity(&server.ca, &server.client_key));
    assert!(matches!(connect(&options).await, Err(WireError::Tls(TlsError::Identity(_)))));
}

#[tokio::test]
async fn channel_binding_is_done_where_required_and_needs_tls() {
    let mut options = server().encrypted("app", TlsMode::Require, Roots::Unset);
    options.tls.channel_binding = ChannelBinding::Require;
    assert_eq!(user(&options).await, "app");
    options.tls.mode = TlsMode::Disable;
    assert!(matches!(connect(&options).await, Err(WireError::Auth(AuthError::NoChannelBinding))));
    let mut without = server().encrypted("app", TlsMode::Require, Roots::Unset);
    without.tls.channel_binding = ChannelBinding::Disable;
    assert_eq!(user(&without).await, "app");
}

#[tokio::test]
async fn a_unix_socket_is_a_way_in_and_ignores_tls_modes() {
    let server = server_with_socket();
    let path = server.socket_dir.as_ref().unwrap().join(format!(".s.PGSQL.{}", server.port));
    let mut options =
        server.encrypted("app", TlsMode::VerifyFull, Roots::Given(Pem::File(server.ca.clone())));
    options.endpoints = vec![Endpoint::Unix { path }];
    assert!(!is_encrypted(&options).await);
}

#[tokio::test]
async fn endpoints_are_tried_in_turn_until_one_answers() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let mut options = server().options("app");
    options.endpoints.insert(0, Endpoint::Tcp { host: "127.0.0.1".to_owned(), port: closed });
    options.endpoints.insert(0, Endpoint::Unix { path: "/nowhere/at/all".into() });
    assert_eq!(user(&options).await, "app");
    options.endpoints.truncate(2);
    let refused = connect(&options).await;
    assert!(
        matches!(refused, Err(WireError::Connect { address, .. }) if address.ends_with(&closed.to_string()))
    );
}

#[tokio::test]
async fn a_wrong_password_is_not_tried_at_the_next_endpoint() {
    let mut options = ConnectOptions { password: Some("wrong".to_owned().into()), ..server().options("app") };
    options.endpoints.push(Endpoint::Unix { path: "/nowhere/at/all".into() });
    assert_eq!(rejection_code(connect(&options).await), "28P01");
}

#[tokio::test]
async fn a_host_name_is_resolved_within_its_family() {
    let mut options = server().options("app");
    options.endpoints = vec![Endpoint::Tcp { host: "localhost".to_owned(), port: server().port }];
    options.ip_family = IpFamily::V4;
    assert_eq!(user(&options).await, "app");
}

#[tokio::test]
async fn a_peer_that_says_nothing_costs_the_connect_timeout_and_no_more() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut options = server().options("app");
    let port = listener.local_addr().unwrap().port();
    options.endpoints = vec![Endpoint::Tcp { host: "127.0.0.1".to_owned(), port }];
    options.connect_timeout = Some(Duration::from_millis(50));
    assert!(matches!(connect(&options).await, Err(WireError::Timeout)));
}

#[tokio::test]
async fn one_connector_makes_many_connections_from_files_read_once() {
    let connector = Connector::load(server().encrypted("app", TlsMode::VerifyFull, ca())).await.unwrap();
    let connects = (0..5).map(|_| connector.connect(soon()));
    for connection in futures::future::join_all(connects).await {
        let mut connection = connection.unwrap();
        assert_eq!(answer(&mut connection, IS_ENCRYPTED).await, "true");
        connection.close().await;
    }
}

#[tokio::test]
async fn no_failure_to_connect_shows_the_password() {
    let secret = "correct horse";
    for mut options in [
        server().options("app"),
        server().options("cleartext"),
        server().encrypted("app", TlsMode::VerifyFull, other_ca()),
    ] {
        options.password = Some(secret.to_owned().into());
        let error = connect(&options).await.unwrap_err();
        assert!(!format!("{options:?} {error:?} {error}").contains(secret));
    }
}
