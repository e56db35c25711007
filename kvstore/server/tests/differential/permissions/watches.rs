//! Watches and permissions that change while they go on.

use kvstore_server::pb::etcdserverpb::{self as pb, WatchCreateRequest};

use super::with_alice;
use crate::{
    op::{End::Prefix, Guise, Key::K, Lease::L, Op, Put, Value::V},
    peer::Peer,
    random::block_on,
    servers::{self, Kind, Server},
};

/// What alice's watch says when her permission is taken, and then a key of hers is written.
fn after_the_permission(kind: &Kind) -> String {
    let server = Server::start(kind);
    block_on(async {
        let mut peer = Peer::connect(&server.url).await;
        with_alice(&mut peer, &[(0, K(1), Prefix)]).await;
        peer.guise = Guise::U(1);
        let (key, range_end) = crate::request::span(K(1), Prefix);
        let mut watch = peer.watch(WatchCreateRequest { key, range_end, ..Default::default() }).await;
        let created = watch.message().await.unwrap().unwrap();
        assert!(created.created && !created.canceled, "{created:?}");
        peer.guise = Guise::U(0);
        let put = Put { key: K(4), value: V(0), lease: L(0), prev_kv: false, ignore_value: false, ignore_lease: false };
        for op in [Op::RoleRevoke { role: 1, key: K(1), end: Prefix }, Op::Put(put)] {
            assert_eq!(peer.answer(&op, 1, 0).await.result(), "ok", "{op:?}");
        }
        let said: pb::WatchResponse = watch.message().await.unwrap().unwrap();
        if said.canceled { said.cancel_reason } else { format!("{} event", said.events.len()) }
    })
}

/// A listed difference: etcd asks once, when a watch is created, and tells for ever.
#[test]
fn a_watch_ends_with_the_permission_which_etcd_forgets() {
    let Some(etcd) = servers::reference_for("a_watch_ends_with_the_permission_which_etcd_forgets") else { return };
    assert_eq!(after_the_permission(&etcd), "1 event");
    let denied = "rpc error: code = PermissionDenied desc = etcdserver: permission denied";
    assert_eq!(after_the_permission(&Kind::Causeway), denied);
}
