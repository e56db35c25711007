//! Stock clients against etcd and against ours: etcdctl, Go's clientv3 with its concurrency package, and what Cilium's
//! agents use.

use std::process::Command;

use crate::servers::{self, Server};

/// Runs a program of clients against every server.
fn run(test: &str, name: &str, more: &[&std::ffi::OsStr]) {
    let Some(clients) = servers::peer_for(test, name) else { return };
    for kind in servers::reference_for(test).into_iter().chain(servers::subjects()) {
        let server = Server::start(&kind);
        let output = Command::new(&clients).args(["-endpoint", &server.url]).args(more).output().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        println!("{kind:?}\n{printed}");
        assert!(output.status.success(), "{kind:?}:\n{printed}{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn stock_etcd_clients_find_what_they_expect() {
    let test = "stock_etcd_clients_find_what_they_expect";
    let Some(etcdctl) = servers::peer_for(test, "etcdctl") else { return };
    run(test, "interop-etcd", &["-etcdctl".as_ref(), etcdctl.as_ref()]);
}

#[test]
fn ciliums_kvstore_client_finds_what_it_expects() {
    run("ciliums_kvstore_client_finds_what_it_expects", "interop-cilium", &[]);
}

/// The twin: against nobody every check fails.
#[test]
fn stock_clients_notice_that_there_is_no_server() {
    let Some(clients) = servers::peer_for("stock_clients_notice_that_there_is_no_server", "interop-etcd") else {
        return;
    };
    let output = Command::new(&clients).args(["-endpoint", "http://127.0.0.1:1", "-only", "txn"]).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(
        !output.status.success() && printed.contains("1 checks of stock clients, 1 things seen, 1 failed"),
        "{printed}"
    );
}
