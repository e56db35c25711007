//! How connections are made: certificates of the moment, other endpoints, sockets, and users with passwords.

use std::{os::unix::fs::PermissionsExt, sync::Arc, time::Duration};

use etcd_client::PermissionType;
use kvstore::{Backend, Cause, Etcd, EtcdConfig, Range};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use tokio::net::TcpListener;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer},
        server::WebPkiClientVerifier,
    },
};

use crate::{
    relay::{self, Seen},
    server::{Kind, Server},
};

const PATIENCE: Duration = Duration::from_secs(20);

type Ca = CertifiedIssuer<'static, KeyPair>;

fn ca() -> Ca {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn certificate(ca: &Ca, usage: ExtendedKeyUsagePurpose) -> (rcgen::Certificate, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    params.extended_key_usages = vec![usage];
    (params.signed_by(&key, ca).unwrap(), key)
}

fn acceptor(ca: &Ca) -> TlsAcceptor {
    let (certificate, key) = certificate(ca, ExtendedKeyUsagePurpose::ServerAuth);
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(ca.der().to_vec())).unwrap();
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let mut config =
        config.with_client_cert_verifier(verifier).with_single_cert(vec![certificate.der().clone()], key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

async fn until_answered(store: &Etcd) {
    let asked = async {
        while store.range(Range::key("who")).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.expect("the store answers in the end");
}

fn authority(server: &Server) -> String {
    server.endpoint().trim_start_matches("http://").to_owned()
}

/// Certificates of a mesh live for hours and are exchanged under the running process. Before, they were read once, and
/// the first reconnect after the old one had ended failed until somebody restarted the agent.
#[tokio::test]
async fn each_handshake_shows_the_certificate_of_the_moment() {
    let server = Server::start(Kind::Embedded).await;
    let (ca, folder, seen) = (ca(), tempfile::tempdir().unwrap(), Arc::new(Seen::default()));
    let write_key = |pem: &str| {
        let path = folder.path().join("client.key");
        std::fs::write(&path, pem).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    };
    let write = || {
        let (certificate, key) = certificate(&ca, ExtendedKeyUsagePurpose::ClientAuth);
        std::fs::write(folder.path().join("client.crt"), certificate.pem()).unwrap();
        write_key(&key.serialize_pem());
        certificate.der().to_vec()
    };
    std::fs::write(folder.path().join("ca.crt"), ca.pem()).unwrap();
    let first = write();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = EtcdConfig {
        endpoints: vec![format!("https://{}", listener.local_addr().unwrap())],
        trusted_ca_file: Some(folder.path().join("ca.crt")),
        cert_file: Some(folder.path().join("client.crt")),
        key_file: Some(folder.path().join("client.key")),
        ..EtcdConfig::default()
    };
    let story = async {
        let store = Etcd::connect(&config, false).unwrap();
        until_answered(&store).await;
        let second = write();
        until_answered(&store).await;
        assert_eq!(*seen.certificates.lock(), std::slice::from_ref(&first), "no new connection for new files");
        seen.cut();
        until_answered(&store).await;
        assert_eq!(seen.certificates.lock().last(), Some(&second));
        // Between two files of an exchange they do not belong together.
        write_key(&KeyPair::generate().unwrap().serialize_pem());
        seen.cut();
        until_answered(&store).await;
        assert_eq!(seen.certificates.lock().last(), Some(&second), "those of before are good enough");
        assert!(seen.certificates.lock().len() >= 3);
    };
    tokio::select! {
        () = relay::tls(listener, acceptor(&ca), authority(&server), Arc::clone(&seen)) => panic!("the relay ended"),
        () = story => {}
    }
}

/// With a balancer each endpoint got its share of the requests, and a dead one failed them.
#[tokio::test]
async fn a_dead_endpoint_fails_no_request() {
    for _ in 0..4 {
        let server = Server::start(Kind::Embedded).await;
        let dead = Server::stopped(Kind::Embedded).endpoint();
        let config = EtcdConfig { endpoints: vec![dead, server.endpoint()], ..EtcdConfig::default() };
        let store = Etcd::connect(&config, false).unwrap();
        for _ in 0..20 {
            store.put("who".into(), "x".into(), None).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_server_that_takes_connections_and_says_nothing_is_left_for_the_next() {
    let (server, seen) = (Server::start(Kind::Embedded).await, Arc::new(Seen::default()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = EtcdConfig {
        endpoints: vec![format!("http://{}", listener.local_addr().unwrap()), server.endpoint()],
        keep_alive_time: Some(Duration::from_millis(300)),
        keep_alive_timeout: Some(Duration::from_millis(300)),
        ..EtcdConfig::default()
    };
    let story = async {
        while seen.connections() == 0 {
            // The order of the endpoints is another one each time.
            until_answered(&Etcd::connect(&config, false).unwrap()).await;
        }
    };
    tokio::select! {
        () = relay::silent(listener, Arc::clone(&seen)) => panic!("it ended"),
        () = story => {}
    }
}

#[tokio::test]
async fn names_and_sockets_are_endpoints_too() {
    let (server, folder) = (Server::start(Kind::Embedded).await, tempfile::tempdir().unwrap());
    let (path, seen) = (folder.path().join("etcd.sock"), Arc::new(Seen::default()));
    let story = async {
        let by_name = server.endpoint().replace("127.0.0.1", "localhost");
        until_answered(&Etcd::connect(&EtcdConfig::insecure(by_name), false).unwrap()).await;
        let socket = EtcdConfig::insecure(format!("unix://{}", path.display()));
        let store = Etcd::connect(&socket, false).unwrap();
        until_answered(&store).await;
        assert_eq!(seen.connections(), 1);
        seen.cut();
        until_answered(&store).await;
        assert_eq!(seen.connections(), 2);
    };
    tokio::select! {
        () = relay::unix(&path, authority(&server), Arc::clone(&seen)) => panic!("the relay ended"),
        () = story => {}
    }
}

/// An agent starts with the store down, also where it has to log in; and what a server forgets in a restart, tokens
/// first of all, it is told again.
#[tokio::test]
async fn a_user_may_come_before_its_server_and_outlives_its_tokens() {
    let mut server = Server::stopped(Kind::Embedded);
    let user = |name: &str| EtcdConfig {
        username: Some(name.to_owned()),
        password: Some("secret".to_owned()),
        ..EtcdConfig::insecure(server.endpoint())
    };
    let (agent, root) = (user("agent"), user("root"));
    let store = Etcd::connect(&agent, false).unwrap();
    let error = store.range(Range::key("who")).await.unwrap_err();
    assert!(matches!(error.cause, Cause::Unavailable(_)), "{error:?}");
    server.run().await;
    // Before anybody is asked for a password, it does no harm to have one.
    until_answered(&store).await;
    let mut admin = kvstore::etcd_client(&EtcdConfig::insecure(server.endpoint())).await.unwrap().auth_client();
    for name in ["root", "agent"] {
        admin.user_add(name, "secret", None).await.unwrap();
        admin.role_add(name).await.unwrap();
        admin.user_grant_role(name, name).await.unwrap();
    }
    let all = etcd_client::Permission::new(PermissionType::Readwrite, "who");
    admin.role_grant_permission("agent", all).await.unwrap();
    admin.auth_enable().await.unwrap();
    until_answered(&store).await;
    let error = store.range(Range::key("other")).await.unwrap_err();
    assert!(matches!(error.cause, Cause::PermissionDenied(_)), "{error:?}");
    let stranger = Etcd::connect(&EtcdConfig::insecure(server.endpoint()), false).unwrap();
    assert!(stranger.range(Range::key("who")).await.is_err());
    until_answered(&Etcd::connect(&root, false).unwrap()).await;
    server.kill();
    server.run_unasked();
    until_answered(&store).await;
    let wrong = EtcdConfig { password: Some("other".to_owned()), ..agent };
    let error = Etcd::connect(&wrong, false).unwrap().range(Range::key("who")).await.unwrap_err();
    assert!(error.to_string().contains("reading") && !error.is_retryable(), "{error:?}");
}
