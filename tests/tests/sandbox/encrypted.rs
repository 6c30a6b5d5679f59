//! An engine that is reached by TCP, behind TLS that asks for a client's certificate.

use std::sync::Arc;

use harness::docker::Engine;
use harness::folder::Folder;
use harness::sandbox::Door;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};
use tokio::net::{TcpListener, UnixStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

/// Who signs the certificates of both sides.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap())
    }

    fn issue(&self) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let parameters = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        (parameters.signed_by(&key, &self.0).unwrap(), key)
    }

    /// The folder that a client of the engine has: `ca.pem`, and what `client` has issued.
    fn folder(&self, client: &Self) -> Folder {
        let (certificate, key) = client.issue();
        let folder = Folder::new();
        for (name, pem) in
            [("ca.pem", self.0.pem()), ("cert.pem", certificate.pem()), ("key.pem", key.serialize_pem())]
        {
            std::fs::write(folder.file(name), pem).unwrap();
        }
        folder
    }

    /// Stands in front of the engine as its own port with `--tlsverify` does; answers its address.
    async fn guard(&self, engine: &Engine) -> String {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
        let (certificate, key) = self.issue();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("tcp://{}", listener.local_addr().unwrap());
        let socket = engine.socket().to_owned();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, socket) = (acceptor.clone(), socket.clone());
                tokio::spawn(async move {
                    let mut client = acceptor.accept(stream).await?;
                    let mut engine = UnixStream::connect(socket).await?;
                    tokio::io::copy_bidirectional(&mut client, &mut engine).await
                });
            }
        });
        address
    }
}

async fn door(address: &str, certificates: &Folder) -> Door {
    let path = certificates.path().to_str().unwrap();
    Door::start_with(&[
        ("SEMILAYER_SANDBOX_DOCKER_HOST", address),
        ("DOCKER_TLS_VERIFY", "1"),
        ("DOCKER_CERT_PATH", path),
    ])
    .await
}

#[tokio::test]
async fn runs_have_their_input_files_and_output_through_it() {
    let authority = Authority::new();
    let address = authority.guard(&Engine::shared()).await;
    let certificates = authority.folder(&authority);
    let door = door(&address, &certificates).await;
    let more = json!({"input": {"a": [1]}, "extract": ["b.txt"]});
    let run = door.shell("cat; echo; cat a.txt; cp a.txt b.txt", more).await;
    assert_eq!(
        (&run["status"], &run["logs"]),
        (&json!("succeeded"), &json!([r#"{"a":[1]}"#, "hello"])),
        "{run}"
    );
    let id = run["id"].as_str().unwrap();
    assert_eq!(door.get(&format!("/runs/{id}/artifacts/b.txt")).await.text(), "hello");
    let id = door.detach("echo up; sleep 60", Value::Null).await;
    door.written(&id, "up").await;
    assert_eq!(door.post(&format!("/runs/{id}/cancel")).await.status, 204);
    assert_eq!(door.ended(&id).await["status"], "cancelled");
    assert!(door.is_gone(&id).await);
}

#[tokio::test]
async fn who_is_not_let_in_is_told_why() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let address = authority.guard(&Engine::shared()).await;
    let emptied = authority.folder(&authority);
    std::fs::remove_file(emptied.file("ca.pem")).unwrap();
    for (certificates, reason) in [
        (authority.folder(&stranger), "received fatal alert"),
        (stranger.folder(&authority), "invalid peer certificate"),
        (emptied, "ca.pem"),
    ] {
        let door = door(&address, &certificates).await;
        let run = door.shell("true", Value::Null).await;
        assert_eq!((&run["status"], &run["errorCode"]), (&json!("failed"), &json!("DOCKER_UNREACHABLE")));
        assert!(run["error"].as_str().unwrap().contains(reason), "{run}");
    }
}
