//! What clients are shown, whom they must be, and what each bad certificate is told.

use std::{path::PathBuf, sync::Arc};

use kvstore_server::{Config, Server, TlsConfig, TlsSource, TlsVersion};
use rcgen::ExtendedKeyUsagePurpose;
use rustls::{ClientConfig, RootCertStore, pki_types::pem::PemObject};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    certificates::{Authority, Spec, write},
    server::{SOON, Store, chain, get},
};

/// Why a server with these files does not start.
fn refused(set: impl FnOnce(&mut TlsConfig), cert: PathBuf, key: PathBuf) -> String {
    let directory = tempfile::tempdir().unwrap();
    let mut tls = TlsConfig::new(cert, key);
    set(&mut tls);
    let config = Config {
        data_dir: directory.path().join("data"),
        listen_client_urls: vec!["https://127.0.0.1:0".to_owned()],
        tls: Some(TlsSource::Files(tls)),
        ..Config::default()
    };
    Server::start(config).map_or_else(|error| chain(&error), |_| "it starts".to_owned())
}

/// Rows 9 to 13 of the catalogue of bad inputs, for what the server itself is given.
#[test]
fn each_fault_of_the_servers_files_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let ca = Authority::new(folder.path(), "ca");
    let issue = |name: &str, spec: Spec| ca.issue(name, spec);
    let (cert, key) = issue("server", Spec::server());
    let check = |cert: &PathBuf, key: &PathBuf, expected: &str| {
        let text = refused(|_| {}, cert.clone(), key.clone());
        assert!(text.contains(expected), "{text:?} lacks {expected:?}");
    };
    check(&cert, &key, "it starts");
    let (_, other_key) = issue("other", Spec::server());
    check(&cert, &other_key, "server.crt does not match key");
    let (expired, expired_key) = issue("expired", Spec { valid: (-9, -2), ..Spec::server() });
    check(&expired, &expired_key, "expired on ");
    let (future, future_key) = issue("future", Spec { valid: (5, 9), ..Spec::server() });
    check(&future, &future_key, "is not valid before ");
    let (client, client_key) = issue("client", Spec::default());
    check(&client, &client_key, "clientAuth only, and a server needs extended key usage serverAuth");
    write(folder.path(), "open.key", &std::fs::read_to_string(&key).unwrap(), 0o644);
    check(&cert, &ca.path("open.key"), "mode 0644, and a private key must not be open to others: chmod 0600");
    let encrypted = std::fs::read_to_string(&key).unwrap().replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    write(folder.path(), "encrypted.key", &encrypted, 0o600);
    check(&cert, &ca.path("encrypted.key"), "is encrypted: decrypt it with `openssl pkey");
    let der = rustls::pki_types::CertificateDer::from_pem_file(&cert).unwrap();
    std::fs::write(ca.path("der.crt"), &*der).unwrap();
    check(&ca.path("der.crt"), &key, "is DER, and PEM is needed: convert it with `openssl x509");
    check(&ca.path("none.crt"), &key, "cannot read");
    let with_ca = |path: PathBuf| refused(|tls| tls.trusted_ca_file = Some(path), cert.clone(), key.clone());
    assert!(with_ca(key.clone()).contains("holds no PEM block `-----BEGIN CERTIFICATE-----`"));
    assert!(with_ca(expired).contains("expired on "));
    let crl = |text: &str| {
        write(folder.path(), "bad.crl", text, 0o644);
        let set = |tls: &mut TlsConfig| {
            (tls.trusted_ca_file, tls.client_crl_file) = (Some(ca.ca()), Some(ca.path("bad.crl")));
        };
        refused(set, cert.clone(), key.clone())
    };
    assert!(crl("x").contains("bad.crl holds a damaged list of revoked certificates"), "{}", crl("x"));
    let suites =
        refused(|tls| tls.cipher_suites = vec!["TLS_RSA_WITH_RC4_128_SHA".to_owned()], cert.clone(), key.clone());
    assert!(suites.contains("\"TLS_RSA_WITH_RC4_128_SHA\" is not one that this store has: "), "{suites}");
    let versions = |tls: &mut TlsConfig| (tls.min_version, tls.max_version) = (TlsVersion::Tls13, TlsVersion::Tls12);
    assert!(refused(versions, cert, key).contains("--tls-min-version is newer"));
}

/// Rows 10 to 12, for what clients show: the log and the metric say which rule; here, that each is refused.
#[tokio::test(flavor = "multi_thread")]
async fn each_fault_of_a_clients_certificate_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let ca = Authority::new(folder.path(), "ca");
    let store = Store::tls(&ca, |tls| {
        tls.trusted_ca_file = Some(ca.ca());
        tls.client_crl_file = Some(ca.revoke(13, true));
    });
    ca.issue("good", Spec::default());
    ca.issue("plain", Spec { usage: None, ..Spec::default() });
    for name in ["good", "plain"] {
        store.secure_client(&ca, Some(name)).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    ca.issue("revoked", Spec { serial: 13, ..Spec::default() });
    ca.issue("expired", Spec { valid: (-9, -2), ..Spec::default() });
    ca.issue("future", Spec { valid: (5, 9), ..Spec::default() });
    ca.issue("server-only", Spec { usage: Some(ExtendedKeyUsagePurpose::ServerAuth), ..Spec::default() });
    let stranger = tempfile::tempdir().unwrap();
    let other = Authority::new(stranger.path(), "other");
    other.issue("stranger", Spec::default());
    for file in ["stranger.crt", "stranger.key"] {
        std::fs::copy(other.path(file), ca.path(file)).unwrap();
    }
    let series = r#"causeway_store_tls_handshake_failures_total{reason="client-certificate"}"#;
    for name in ["revoked", "expired", "future", "server-only", "stranger"] {
        let before = store.metric(series).await;
        assert!(store.secure_client(&ca, Some(name)).await.is_err(), "{name} is let in");
        store.metric_reaches(series, before + 1).await;
    }
    assert!(store.secure_client(&ca, None).await.is_err(), "nobody's certificate is let in");
    store.metric_reaches(r#"causeway_store_tls_handshake_failures_total{reason="no-client-certificate"}"#, 1).await;
    store.secure_client(&ca, Some("good")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clients_name_must_be_one_that_is_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let ca = Authority::new(folder.path(), "ca");
    ca.issue("inside", Spec { names: vec!["a.mesh.test"], ..Spec::default() });
    ca.issue("outside", Spec { names: vec!["b.other.test"], ..Spec::default() });
    let store = Store::tls(&ca, |tls| {
        tls.trusted_ca_file = Some(ca.ca());
        tls.allowed_hostnames = vec!["x.test".to_owned(), "a.mesh.test".to_owned()];
    });
    store.secure_client(&ca, Some("inside")).await.unwrap();
    assert!(store.secure_client(&ca, Some("outside")).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_authority_any_client_is_served_and_a_strangers_server_is_not_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let ca = Authority::new(folder.path(), "ca");
    let store = Store::tls(&ca, |_| {});
    store.secure_client(&ca, None).await.unwrap();
    let other = tempfile::tempdir().unwrap();
    let other = Authority::new(other.path(), "other");
    assert!(store.secure_client(&other, None).await.is_err());
    store.metric_reaches(r#"causeway_store_tls_handshake_failures_total{reason="server-certificate"}"#, 1).await;
}

/// What a client that offers these versions gets: the version, and the protocol.
async fn handshake(
    store: &Store,
    ca: &Authority,
    version: TlsVersion,
    protocol: &[u8],
) -> Option<(TlsVersion, Vec<u8>)> {
    let mut roots = RootCertStore::empty();
    roots.add(rustls::pki_types::CertificateDer::from_pem_file(ca.ca()).unwrap()).unwrap();
    let versions = match version {
        TlsVersion::Tls12 => &[&rustls::version::TLS12],
        TlsVersion::Tls13 => &[&rustls::version::TLS13],
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let socket = tokio::net::TcpStream::connect(store.address()).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = connector.connect("localhost".try_into().unwrap(), socket).await.ok()?;
    let (_, session) = stream.get_ref();
    let version = match session.protocol_version()? {
        rustls::ProtocolVersion::TLSv1_2 => TlsVersion::Tls12,
        _ => TlsVersion::Tls13,
    };
    Some((version, session.alpn_protocol()?.to_vec()))
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_and_both_protocols_are_spoken() {
    let folder = tempfile::tempdir().unwrap();
    let ca = Authority::new(folder.path(), "ca");
    let store = Store::tls(&ca, |_| {});
    for version in [TlsVersion::Tls12, TlsVersion::Tls13] {
        for protocol in [b"h2".as_slice(), b"http/1.1"] {
            assert_eq!(handshake(&store, &ca, version, protocol).await, Some((version, protocol.to_vec())));
        }
    }
    assert_eq!(store.metric("causeway_store_tls_handshakes_total").await, 4);
    let only_new = Store::tls(&ca, |tls| tls.min_version = TlsVersion::Tls13);
    assert_eq!(handshake(&only_new, &ca, TlsVersion::Tls12, b"h2").await, None);
    only_new.metric_reaches(r#"causeway_store_tls_handshake_failures_total{reason="versions"}"#, 1).await;
    let only_old = Store::tls(&ca, |tls| {
        tls.max_version = TlsVersion::Tls12;
        tls.cipher_suites = vec!["TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384".to_owned()];
    });
    let old = Some((TlsVersion::Tls12, b"h2".to_vec()));
    assert_eq!(handshake(&only_old, &ca, TlsVersion::Tls12, b"h2").await, old);
    assert_eq!(handshake(&only_old, &ca, TlsVersion::Tls13, b"h2").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_in_plain_text_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let ca = Authority::new(folder.path(), "ca");
    let store = Store::tls(&ca, |_| {});
    let mut socket = tokio::net::TcpStream::connect(store.address()).await.unwrap();
    socket.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    // An alert, and the end; a reset is an end, too.
    let ended = tokio::time::timeout(SOON, socket.read_to_end(&mut answer)).await;
    assert!(ended.is_ok() && !answer.starts_with(b"HTTP"), "{answer:?}");
    store.metric_reaches(r#"causeway_store_tls_handshake_failures_total{reason="not-tls"}"#, 1).await;
}

/// `--auto-tls`: the certificate is made once, and clients that trust it come in.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_made_beside_the_data() {
    let store = Store::start(|config| config.tls = Some(TlsSource::Auto { years: 1 }));
    let cert = store.directory().join("data/fixtures/client/cert.pem");
    let folder = tempfile::tempdir().unwrap();
    let ca = Authority::new(folder.path(), "ca");
    std::fs::copy(cert, ca.ca()).unwrap();
    store.secure_client(&ca, None).await.unwrap();
    assert!(get(store.plain_address(), "/health").await.contains(r#"{"health":"true""#));
}

/// etcd's `--client-cert-auth`: the common name of a client's certificate is the user, without a password.
#[tokio::test(flavor = "multi_thread")]
async fn a_clients_name_is_the_user_once_users_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let ca = Authority::new(folder.path(), "ca");
    for name in ["root", "node", "stranger"] {
        ca.issue(name, Spec::default());
    }
    let store = Store::tls(&ca, |tls| tls.trusted_ca_file = Some(ca.ca()));
    let mut root = store.secure_client(&ca, Some("root")).await.unwrap();
    let no_password = || Some(etcd_client::UserAddOptions::new().with_no_pwd());
    for name in ["root", "node"] {
        root.user_add(name, "", no_password()).await.unwrap();
    }
    root.role_add("root").await.unwrap();
    root.role_add("writer").await.unwrap();
    root.role_grant_permission("writer", etcd_client::Permission::read_write("k")).await.unwrap();
    root.user_grant_role("root", "root").await.unwrap();
    root.user_grant_role("node", "writer").await.unwrap();
    root.auth_enable().await.unwrap();
    // This puts the key k.
    let mut node = store.secure_client(&ca, Some("node")).await.unwrap();
    let refused = node.put("other", "v", None).await.unwrap_err().to_string();
    assert!(refused.contains("etcdserver: permission denied"), "{refused}");
    let refused = store.secure_client(&ca, Some("stranger")).await.map(drop).unwrap_err();
    assert!(refused.contains("permission denied") || refused.contains("user name not found"), "{refused}");
    root.put("other", "v", None).await.unwrap();
    // Where nobody shows a certificate, nobody is known.
    let unnamed = store.client().await.put("k", "v", None).await.unwrap_err().to_string();
    assert!(unnamed.contains("user name is empty"), "{unnamed}");
}
