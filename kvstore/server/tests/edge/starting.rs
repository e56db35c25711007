//! What a server is started with: whose data, and what it serves where.

use kvstore_server::{Config, Server};

use crate::server::{Store, chain, get};

/// Row 43 of the catalogue of bad inputs: a data directory of another cluster.
#[test]
fn who_names_a_cluster_gets_that_one_or_none() {
    let folder = tempfile::tempdir().unwrap();
    let config = |token: Option<&str>| Config {
        data_dir: folder.path().join("data"),
        listen_client_urls: vec!["http://127.0.0.1:0".to_owned()],
        initial_cluster_token: token.map(str::to_owned),
        ..Config::default()
    };
    let start = |token| Server::start(config(token)).map(Server::stop);
    start(Some("east")).unwrap().unwrap();
    start(Some("east")).unwrap().unwrap();
    let refused = chain(&start(Some("west")).map(drop).unwrap_err());
    assert!(refused.contains("data holds a member of cluster ") && refused.contains("\"west\""), "{refused}");
    // Who names none takes what is there.
    start(None).unwrap().unwrap();
}

/// Where only health and metrics are served, nobody reads or writes keys: no certificate is asked for there.
#[tokio::test(flavor = "multi_thread")]
async fn a_metrics_url_serves_pages_and_no_keys() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let store = Store::start(|config| config.listen_metrics_urls = vec![format!("http://{address}")]);
    assert!(get(&address, "/metrics").await.contains("etcd_server_has_leader "));
    assert!(get(&address, "/health").await.contains(r#""health":"true""#));
    let mut client = etcd_client::Client::connect([format!("http://{address}")], None).await.unwrap();
    assert!(client.put("k", "v", None).await.is_err(), "keys are served where only pages are");
    store.client().await.put("k", "v", None).await.unwrap();
}
