//! TLS, against a server of rustls.

use bridge_net::{Pem, TlsError};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, crypto};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use super::super::error::NetworkError;
use super::*;
use crate::bindings::net::TlsOptions;

struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
struct Identity {
    certificate: CertificateDer<'static>,
    pem: (String, String),
    key: Vec<u8>,
}

impl Authority {
    fn new() -> Self {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap())
    }

    fn identity(&self, name: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.0).unwrap();
        Identity {
            certificate: certificate.der().clone(),
            pem: (certificate.pem(), key.serialize_pem()),
            key: key.serialize_der(),
        }
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        Arc::new(roots)
    }

    /// What a guest trusts that trusts this authority.
    fn trusted(&self) -> TlsOptions {
        TlsOptions { ca: Some(self.0.pem()), ..nothing_special() }
    }
}

fn nothing_special() -> TlsOptions {
    TlsOptions { server_name: None, ca: None, certificate: None, key: None, alpn: Vec::new() }
}

/// A server named `db.example` that tells what was agreed on. With `clients`, it wants a certificate of that authority.
async fn server(authority: &Authority, clients: Option<&Authority>, greeting: &'static str) -> Server {
    let provider = Arc::new(crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        Some(clients) => {
            let verifier =
                WebPkiClientVerifier::builder_with_provider(clients.roots(), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        }
        None => builder.with_no_client_auth(),
    };
    let identity = authority.identity("db.example");
    let key = PrivateKeyDer::try_from(identity.key).unwrap();
    let mut config = builder.with_single_cert(vec![identity.certificate], key).unwrap();
    config.alpn_protocols = vec![b"acme/2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    Server::new(move |mut stream, _| {
        let acceptor = acceptor.clone();
        async move {
            stream.write_all(greeting.as_bytes()).await?;
            let mut stream = acceptor.accept(stream).await?;
            let (_, session) = stream.get_ref();
            let alpn = session.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned());
            let client = session.peer_certificates().is_some();
            stream.write_all(format!("alpn {alpn:?}, client {client}").as_bytes()).await?;
            stream.shutdown().await
        }
    })
    .await
}

struct Meeting {
    world: World,
    server: Server,
}

impl Meeting {
    async fn new(authority: &Authority, clients: Option<&Authority>, roots: Roots) -> Self {
        let web = Web::default();
        web.name("db.example", &[&["127.0.0.1"]]).name("alias.example", &[&["127.0.0.1"]]);
        let making = Making { allow: &["db.example", "alias.example"], roots, ..Making::default() };
        Self { world: World::of(&web, making), server: server(authority, clients, "").await }
    }

    async fn connect(&self, host: &str, options: TlsOptions) -> Result<String, NetworkError> {
        let target = (host, self.server.port());
        let call = &self.world.call;
        let mut socket = Socket::connect(&self.world.network.outlet, call, target, Some(options)).await?;
        Ok(String::from_utf8(socket.read(call, 1_000).await?).unwrap())
    }
}

fn is_refused(met: Result<String, NetworkError>) -> bool {
    matches!(met, Err(NetworkError::Tls(TlsError::Certificate(_))))
}

#[tokio::test]
async fn the_guest_says_whom_it_trusts() {
    let authority = Authority::new();
    let meeting = Meeting::new(&authority, None, Roots::System).await;
    let met = meeting.connect("db.example", authority.trusted()).await.unwrap();
    assert_eq!(met, "alpn None, client false");
    assert!(is_refused(meeting.connect("db.example", Authority::new().trusted()).await));
}

#[tokio::test]
async fn the_runner_trusts_for_guests_that_say_nothing() {
    let authority = Authority::new();
    let own = Roots::Given(Pem::of(&authority.0.pem()));
    let meeting = Meeting::new(&authority, None, own).await;
    meeting.connect("db.example", nothing_special()).await.unwrap();
    let other = Roots::Given(Pem::of(&Authority::new().0.pem()));
    let meeting = Meeting::new(&authority, None, other).await;
    assert!(is_refused(meeting.connect("db.example", nothing_special()).await));
}

#[tokio::test]
async fn the_certificate_must_have_the_name() {
    let authority = Authority::new();
    let meeting = Meeting::new(&authority, None, Roots::System).await;
    assert!(is_refused(meeting.connect("alias.example", authority.trusted()).await));
    let named = TlsOptions { server_name: Some("DB.example".to_owned()), ..authority.trusted() };
    meeting.connect("alias.example", named).await.unwrap();
}

#[tokio::test]
async fn a_guest_shows_its_certificate() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let meeting = Meeting::new(&authority, Some(&clients), Roots::System).await;
    let (certificate, key) = clients.identity("client").pem;
    let shown = TlsOptions { certificate: Some(certificate.clone()), key: Some(key), ..authority.trusted() };
    assert_eq!(meeting.connect("db.example", shown).await.unwrap(), "alpn None, client true");
    assert!(meeting.connect("db.example", authority.trusted()).await.is_err());
    let alone = TlsOptions { certificate: Some(certificate), ..authority.trusted() };
    assert!(matches!(
        meeting.connect("db.example", alone).await,
        Err(NetworkError::Invalid { field: "tls.key", .. })
    ));
}

#[tokio::test]
async fn a_guest_cannot_make_the_runner_read_a_file() {
    let authority = Authority::new();
    let meeting = Meeting::new(&authority, None, Roots::System).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, authority.0.pem()).unwrap();
    let named = TlsOptions { ca: Some(file.to_str().unwrap().to_owned()), ..nothing_special() };
    let refused = meeting.connect("db.example", named).await.unwrap_err();
    assert!(matches!(refused, NetworkError::Tls(TlsError::Unusable { .. })), "{refused}");
}

#[tokio::test]
async fn protocols_are_offered() {
    let authority = Authority::new();
    let meeting = Meeting::new(&authority, None, Roots::System).await;
    let offered = |alpn: &[&str]| TlsOptions {
        alpn: alpn.iter().map(|text| (*text).to_owned()).collect(),
        ..authority.trusted()
    };
    let met = meeting.connect("db.example", offered(&["acme/2"])).await.unwrap();
    assert_eq!(met, "alpn Some(\"acme/2\"), client false");
    for wrong in [vec![""; 1], vec!["a"; 9]] {
        let refused = meeting.connect("db.example", offered(&wrong)).await;
        assert!(matches!(refused, Err(NetworkError::Invalid { field: "tls.alpn", .. })));
    }
}

#[tokio::test]
async fn a_stream_goes_on_under_tls() {
    let authority = Authority::new();
    let server = server(&authority, None, "ready\n").await;
    let web = Web::default();
    web.name("db.example", &[&["127.0.0.1"]]);
    let world = World::of(&web, Making { allow: &["db.example"], ..Making::default() });
    let mut socket = world.connect("db.example", server.port()).await.unwrap();
    assert_eq!(socket.read(&world.call, 6).await.unwrap(), b"ready\n");
    socket.start_tls(&world.call, authority.trusted()).await.unwrap();
    let told = socket.read(&world.call, 1_000).await.unwrap();
    assert_eq!(told, b"alpn None, client false");
}

#[tokio::test]
async fn a_stream_whose_handshake_failed_is_not_used_in_the_clear() {
    let authority = Authority::new();
    let server = server(&authority, None, "").await;
    let web = Web::default();
    web.name("db.example", &[&["127.0.0.1"]]);
    let world = World::of(&web, Making { allow: &["db.example"], ..Making::default() });
    let mut socket = world.connect("db.example", server.port()).await.unwrap();
    let failed = socket.start_tls(&world.call, Authority::new().trusted()).await;
    assert!(socket.told(failed).unwrap_err().connection_lost);
    assert!(matches!(socket.write(&world.call, b"password").await, Err(NetworkError::Abandoned)));
}

#[tokio::test]
async fn a_server_that_does_not_speak_tls_is_not_waited_for_beyond_the_job() {
    let server = Server::mute().await;
    let world = World::allowing(&["127.0.0.1"]);
    let call = CallState::within(Duration::from_millis(50));
    let options = Authority::new().trusted();
    let target = ("127.0.0.1", server.port());
    let connected = Socket::connect(&world.network.outlet, &call, target, Some(options)).await;
    assert!(matches!(connected, Err(NetworkError::Ended(_))));
}

#[tokio::test]
async fn roots_of_the_runner_stand_beside_those_of_the_system() {
    let authority = Authority::new();
    let beside = Roots::SystemAnd(Pem::of(&authority.0.pem()));
    let meeting = Meeting::new(&authority, None, beside).await;
    meeting.connect("db.example", nothing_special()).await.unwrap();
    let meeting = Meeting::new(&authority, None, Roots::SystemAnd(Pem::of(&Authority::new().0.pem()))).await;
    assert!(is_refused(meeting.connect("db.example", nothing_special()).await));
}
