//! Users by certificate, as in a clustermesh: the common name is who a client is, and a token goes before it.

use etcd_client::{Client, GetOptions, Permission, UserAddOptions};

use crate::{
    certificates::{Authority, Spec},
    server::{Store, chain},
};

const NODES: &str = "cilium/state/nodes/v1/";
const DENIED: &str = "etcdserver: permission denied";

/// "ok", or the server's own words.
fn said<T>(result: Result<T, etcd_client::Error>) -> String {
    match result {
        Ok(_) => "ok".to_owned(),
        Err(etcd_client::Error::GRpcStatus(status)) => status.message().to_owned(),
        Err(error) => chain(&error),
    }
}

async fn reads(client: &Client, prefix: &str) -> String {
    said(client.kv_client().get(prefix, Some(GetOptions::new().with_prefix())).await)
}

async fn writes(client: &Client, key: &str) -> String {
    said(client.kv_client().put(key, "x", None).await)
}

/// root and remote, who have no passwords, and alice, who has one; remote reads the state.
async fn with_users(client: &mut Client) {
    for name in ["root", "remote"] {
        client.user_add(name, "", Some(UserAddOptions::new().with_no_pwd())).await.unwrap();
    }
    client.user_add("alice", "geheim", None).await.unwrap();
    client.user_grant_role("root", "root").await.unwrap();
    for (role, user, permission) in [
        ("remote", "remote", Permission::read("cilium/state/").with_prefix()),
        ("own", "alice", Permission::read_write("own/").with_prefix()),
    ] {
        client.role_add(role).await.unwrap();
        client.role_grant_permission(role, permission).await.unwrap();
        client.user_grant_role(user, role).await.unwrap();
    }
    client.put(format!("{NODES}west/a"), "x", None).await.unwrap();
    client.auth_enable().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_common_name_is_the_user_and_a_token_goes_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let ca = Authority::new(folder.path(), "ca");
    for name in ["root", "remote", "stranger"] {
        ca.issue(name, Spec::default());
    }
    let store = Store::tls(&ca, |tls| tls.trusted_ca_file = Some(ca.ca()));
    let by = async |name, login| store.client_as(&ca, Some(name), login).await.unwrap();
    with_users(&mut by("stranger", None).await).await;

    let mut root = by("root", None).await;
    assert_eq!(root.user_list().await.unwrap().users(), ["alice", "remote", "root"]);
    assert_eq!(writes(&root, "anything").await, "ok");
    let mut remote = by("remote", None).await;
    assert_eq!(reads(&remote, NODES).await, "ok");
    assert_eq!(reads(&remote, "cilium/cache/").await, DENIED);
    assert_eq!(writes(&remote, &format!("{NODES}west/a")).await, DENIED);
    assert_eq!(said(remote.user_list().await), DENIED);
    // Not that the name is empty: wire.md, 0.4, point 14.
    let mut stranger = by("stranger", None).await;
    assert_eq!(reads(&stranger, NODES).await, DENIED);
    assert_eq!(said(stranger.lease_grant(100, None).await), DENIED);
    assert_eq!(said(stranger.user_list().await), "etcdserver: user name not found");

    let alice = by("remote", Some(("alice", "geheim"))).await;
    assert_eq!(writes(&alice, "own/a").await, "ok");
    assert_eq!(reads(&alice, NODES).await, DENIED, "her token counts, not the certificate");
    let wrong = store.client_as(&ca, Some("root"), Some(("alice", "falsch"))).await;
    assert!(wrong.is_err_and(|text| text.contains("authentication failed")), "root's certificate is no password");
    // The plain port asks, too.
    assert_eq!(reads(&store.client().await, NODES).await, "etcdserver: user name is empty");

    // A role that is given while the connection lasts counts at once, and so does one that is taken.
    root.user_grant_role("remote", "own").await.unwrap();
    assert_eq!(writes(&remote, "own/b").await, "ok");
    root.user_delete("remote").await.unwrap();
    assert_eq!(reads(&remote, NODES).await, DENIED);
    assert!(store.metric("causeway_store_refused_total").await >= 9);
}
