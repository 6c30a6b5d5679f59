use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::fixtures::{Authority, Temporary};

/// Connects `client` to `host`, where `acceptor` answers with "hi".
async fn handshake(
    client: &ClientTls,
    host: &str,
    acceptor: TlsAcceptor,
) -> Result<Secured<DuplexStream>, TlsError> {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let server = async move {
        if let Ok(mut stream) = acceptor.accept(far).await {
            stream.write_all(b"hi").await.unwrap();
            stream.shutdown().await.unwrap();
        }
    };
    tokio::join!(client.connect(host, near), server).0
}

#[tokio::test]
async fn a_private_authority_is_trusted_once_it_is_named() {
    let authority = Authority::named("House CA");
    let client = ClientTls::load(Some(authority.ca_file.path()), None).unwrap();
    let mut secured = handshake(&client, "gateway.test", authority.acceptor("gateway.test")).await.unwrap();
    assert_eq!(secured.version, "TLS 1.3");
    assert_eq!(secured.issuer.as_deref(), Some("CN=House CA"));
    let mut text = String::new();
    secured.stream.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "hi");
}

#[tokio::test]
async fn an_unknown_authority_is_refused_and_named() {
    let (known, unknown) = (Authority::named("Known CA"), Authority::named("Middlebox CA"));
    let refused =
        handshake(&known.client(), "gateway.test", unknown.acceptor("gateway.test")).await.unwrap_err();
    let TlsError::Untrusted { issuer, .. } = &refused else { panic!("{refused}") };
    assert_eq!(issuer.as_deref(), Some("CN=Middlebox CA"));
    let text = refused.to_string();
    assert!(text.starts_with("the certificate of gateway.test is not trusted"), "{text}");
    assert!(text.ends_with("(issued by CN=Middlebox CA)"), "{text}");
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let authority = Authority::named("House CA");
    let refused = handshake(&authority.client(), "gateway.test", authority.acceptor("other.test")).await;
    assert!(matches!(refused, Err(TlsError::Untrusted { .. })));
}

#[tokio::test]
async fn an_address_can_stand_in_a_certificate() {
    let authority = Authority::named("House CA");
    handshake(&authority.client(), "127.0.0.1", authority.acceptor("127.0.0.1")).await.unwrap();
}

#[tokio::test]
async fn a_server_with_tls_1_2_is_accepted() {
    let authority = Authority::named("House CA");
    let (certificate, key) = authority.issue("gateway.test");
    let chain = read_certificates(certificate.path()).unwrap();
    let config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(key.path()).unwrap())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let secured = handshake(&authority.client(), "gateway.test", acceptor).await.unwrap();
    assert_eq!(secured.version, "TLS 1.2");
}

#[tokio::test]
async fn without_any_root_every_server_is_refused() {
    let client = ClientTls::with_roots(RootCertStore::empty()).unwrap();
    assert_eq!(client.roots(), 0);
    let refused = handshake(&client, "gateway.test", Authority::named("CA").acceptor("gateway.test")).await;
    assert!(matches!(refused, Err(TlsError::Untrusted { .. })));
}

#[tokio::test]
async fn a_server_that_does_not_speak_tls_is_told_apart_from_an_untrusted_one() {
    let (near, mut far) = tokio::io::duplex(64 * 1024);
    far.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    let refused = Authority::named("CA").client().connect("gateway.test", near).await.unwrap_err();
    assert!(matches!(refused, TlsError::Handshake { .. }), "{refused}");
}

#[test]
fn ssl_cert_file_takes_the_place_of_the_platforms_roots() {
    let authority = Authority::named("House CA");
    assert_eq!(ClientTls::load(None, Some(authority.ca_file.path())).unwrap().roots(), 1);
    let both =
        ClientTls::load(Some(Authority::named("Other").ca_file.path()), Some(authority.ca_file.path()));
    assert_eq!(both.unwrap().roots(), 2);
}

#[test]
fn files_without_certificates_are_refused_by_name() {
    let empty = Temporary::new("nothing here\n");
    for path in [empty.path(), Path::new("/nonexistent/ca.pem")] {
        let text = ClientTls::load(Some(path), None).unwrap_err().to_string();
        assert!(text.starts_with(&format!("cannot use {}", path.display())), "{text}");
    }
}

#[test]
fn a_server_key_that_does_not_fit_the_certificate_is_refused() {
    let authority = Authority::named("House CA");
    let (certificate, _) = authority.issue("a.test");
    let (_, other_key) = authority.issue("b.test");
    assert!(matches!(server_config(certificate.path(), other_key.path()), Err(TlsError::File { .. })));
}

#[test]
fn a_hostile_issuer_cannot_write_to_the_terminal() {
    let authority = Authority::named(&format!("\u{1b}[2J\nCA {}", "x".repeat(500)));
    let (certificate, _) = authority.issue("a.test");
    let shown = issuer(&CertificateDer::from_pem_file(certificate.path()).unwrap()).unwrap();
    assert!(shown.chars().count() <= 200 && !shown.chars().any(char::is_control), "{shown:?}");
    assert_eq!(issuer(&CertificateDer::from(vec![0x30, 0x80])), None);
}
