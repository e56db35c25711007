//! Stock etcdctl over TLS.

use crate::{
    certificates::{Authority, Spec},
    peer,
    server::Store,
};

fn words(store: &Store, ca: &Authority, client: Option<&str>, command: &[&str]) -> Vec<String> {
    let mut words = vec![format!("--endpoints={}", store.url()), format!("--cacert={}", ca.ca().display())];
    if let Some(name) = client {
        words.push(format!("--cert={}", ca.path(&format!("{name}.crt")).display()));
        words.push(format!("--key={}", ca.path(&format!("{name}.key")).display()));
    }
    words.extend(["--command-timeout=5s", "--dial-timeout=5s"].map(str::to_owned));
    words.extend(command.iter().map(|word| (*word).to_owned()));
    words
}

#[tokio::test(flavor = "multi_thread")]
async fn etcdctl_works_over_tls_with_a_client_certificate_and_not_without() {
    let Some(etcdctl) = peer::peer("stock", "etcdctl") else { return };
    let folder = tempfile::tempdir().unwrap();
    let ca = Authority::new(folder.path(), "ca");
    ca.issue("client", Spec::default());
    let store = Store::tls(&ca, |tls| tls.trusted_ca_file = Some(ca.ca()));
    let ran = |client: Option<&'static str>, command: &'static [&'static str]| {
        let words = words(&store, &ca, client, command);
        let etcdctl = etcdctl.clone();
        async move {
            let output = peer::run(&etcdctl, words).await;
            let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            (output.status.success(), text)
        }
    };
    assert_eq!(ran(Some("client"), &["put", "a", "b"]).await, (true, "OK\n".to_owned()));
    assert_eq!(ran(Some("client"), &["get", "a"]).await, (true, "a\nb\n".to_owned()));
    let (healthy, text) = ran(Some("client"), &["endpoint", "health"]).await;
    assert!(healthy && text.contains("is healthy"), "{text}");
    let (ok, text) = ran(None, &["get", "a"]).await;
    assert!(!ok, "{text}");
    store.metric_reaches(r#"causeway_store_tls_handshake_failures_total{reason="no-client-certificate"}"#, 1).await;
}
