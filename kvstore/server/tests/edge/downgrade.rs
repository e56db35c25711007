//! Downgrades: there is no older version to go back to, and that is said in etcd's words.

use kvstore_server::pb::etcdserverpb::{DowngradeRequest, DowngradeResponse, downgrade_request::DowngradeAction};
use tonic::{Code, client::Grpc, codegen::http::uri::PathAndQuery, transport::Endpoint};

use crate::{peer::Etcd, server::Store};

async fn asked(url: String, action: DowngradeAction, version: &str) -> (Code, String) {
    let channel = Endpoint::from_shared(url).unwrap().connect().await.unwrap();
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.unwrap();
    let request = DowngradeRequest { action: action.into(), version: version.to_owned() };
    let path = PathAndQuery::from_static("/etcdserverpb.Maintenance/Downgrade");
    let codec = tonic_prost::ProstCodec::<DowngradeRequest, DowngradeResponse>::default();
    match grpc.unary(tonic::Request::new(request), path, codec).await {
        Ok(answer) => (Code::Ok, answer.into_inner().version),
        Err(status) => (status.code(), status.message().to_owned()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_version_is_one_to_go_back_to() {
    let store = Store::plain();
    let url = || store.url().to_owned();
    let invalid = |text: &str| (Code::InvalidArgument, format!("etcdserver: {text}"));
    let same = [
        (DowngradeAction::Validate, "x", invalid("wrong downgrade target version format")),
        (DowngradeAction::Enable, "", invalid("wrong downgrade target version format")),
        (DowngradeAction::Enable, "3.2.0", invalid("invalid downgrade target version")),
        (DowngradeAction::Cancel, "", (Code::Ok, "3.6".to_owned())),
    ];
    for (action, version, expected) in &same {
        assert_eq!(asked(url(), *action, version).await, *expected, "{action:?} {version}");
    }
    // etcd would go back by one minor version.
    let expected = invalid("invalid downgrade target version");
    assert_eq!(asked(url(), DowngradeAction::Validate, "3.5.0").await, expected);
    let Some(etcd) = Etcd::start("downgrade").await else { return };
    for (action, version, expected) in &same {
        assert_eq!(asked(etcd.url.clone(), *action, version).await, *expected, "etcd: {action:?} {version}");
    }
}
