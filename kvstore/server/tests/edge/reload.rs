//! Certificate files change under a running server.

use kvstore_server::TlsSource;

use crate::{
    certificates::{Authority, Spec, write},
    server::Store,
};

const USED: &str = r#"causeway_store_tls_reloads_total{reason="used"}"#;
const REFUSED: &str = r#"causeway_store_tls_reloads_total{reason="refused"}"#;

/// The story of a rotation: first only half of it, then all of it.
#[tokio::test(flavor = "multi_thread")]
async fn new_files_are_used_at_once_and_bad_ones_leave_the_old_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let old = Authority::new(&folder.path().join("."), "ca");
    let later = tempfile::tempdir().unwrap();
    let new = Authority::new(later.path(), "new");
    old.issue("client", Spec::default());
    new.issue("client", Spec::default());
    let store = Store::tls(&old, |tls| tls.trusted_ca_file = Some(old.ca()));
    store.secure_client(&old, Some("client")).await.unwrap();
    assert_eq!(store.metric(USED).await, 0);
    // A certificate without its key: nothing changes for clients.
    let (cert, key) = new.issue("server", Spec::server());
    std::fs::copy(&cert, old.path("server.crt")).unwrap();
    store.secure_client(&old, Some("client")).await.unwrap();
    assert_eq!((store.metric(USED).await, store.metric(REFUSED).await), (0, 1));
    assert_eq!(store.metric("causeway_store_tls_files_refused").await, 1);
    store.secure_client(&old, Some("client")).await.unwrap();
    assert_eq!(store.metric(REFUSED).await, 1, "it is said once");
    // The key comes, and the authority: the next handshake is by the new files.
    write(&old.folder, "server.key", &std::fs::read_to_string(&key).unwrap(), 0o600);
    std::fs::copy(new.ca(), old.ca()).unwrap();
    store.secure_client(&new, Some("client")).await.unwrap();
    assert!(store.metric(USED).await >= 1);
    assert_eq!(store.metric("causeway_store_tls_files_refused").await, 0);
    // Files that are gone are no reason to stop serving.
    std::fs::remove_file(old.path("server.crt")).unwrap();
    store.secure_client(&new, Some("client")).await.unwrap();
    assert_eq!(store.metric("causeway_store_tls_files_refused").await, 1);
}

/// Mounted secrets are changed by replacing a symbolic link.
#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_link_is_a_change() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("1"), folder.path().join("2"));
    let mut authorities = Vec::new();
    for place in [&one, &two] {
        std::fs::create_dir(place).unwrap();
        let authority = Authority::new(place, "ca");
        authority.issue("server", Spec::server());
        authorities.push(authority);
    }
    let link = folder.path().join("data");
    std::os::unix::fs::symlink(&one, &link).unwrap();
    let tls = kvstore_server::TlsConfig::new(link.join("server.crt"), link.join("server.key"));
    let store = Store::start(|config| config.tls = Some(TlsSource::Files(tls)));
    store.secure_client(&authorities[0], None).await.unwrap();
    let next = folder.path().join("next");
    std::os::unix::fs::symlink(&two, &next).unwrap();
    std::fs::rename(&next, &link).unwrap();
    store.secure_client(&authorities[1], None).await.unwrap();
    assert!(store.secure_client(&authorities[0], None).await.is_err());
    assert_eq!((store.metric(USED).await, store.metric(REFUSED).await), (1, 0));
}
