//! What the client port says to plain HTTP, and to gRPC beyond etcd's own services.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use kvstore_server::pb::etcdserverpb::{RangeRequest, RangeResponse, SnapshotRequest, SnapshotResponse};

use crate::{
    op::{Op, Who},
    peer::Peer,
    random::block_on,
    servers::{self, Kind, Server},
};

const PATHS: [&str; 11] = [
    "/health",
    "/health?serializable=true",
    "/health?exclude=NOSPACE",
    "/livez",
    "/readyz",
    "/readyz?verbose",
    "/livez/serializable_read",
    "/version",
    "/nothing",
    "/livez/linearizable_read",
    "/readyz/linearizable_read",
];

/// Status and body of a page.
fn get(server: &Server, path: &str) -> (String, String) {
    let address = server.url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: store\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    // Ours names itself beside the version of etcd whose API it has; etcd's checks come in any order.
    let body = body.split(",\"causeway\"").next().unwrap_or_default().trim().trim_end_matches('}');
    let mut lines: Vec<&str> = body.lines().collect();
    lines.sort_unstable();
    (head.lines().next().unwrap_or_default().to_owned(), lines.join("\n"))
}

/// The servers, the reference first.
fn each(test: &str) -> impl Iterator<Item = (Kind, Server)> {
    let kinds = servers::reference_for(test).into_iter().chain(servers::subjects());
    kinds.map(|kind| {
        let server = Server::start(&kind);
        block_on(Peer::connect(&server.url));
        (kind, server)
    })
}

/// Every server says the same as the first.
fn same<T: std::fmt::Debug + PartialEq>(test: &str, say: impl Fn(&Server) -> T) {
    let mut first = None;
    for (kind, server) in each(test) {
        let said = say(&server);
        match &first {
            Some(expected) => assert_eq!(&said, expected, "{kind:?}"),
            None => first = Some(said),
        }
    }
}

#[test]
fn pages_say_what_etcds_say() {
    same("pages_say_what_etcds_say", |server| PATHS.map(|path| (path, get(server, path))));
}

#[test]
fn pages_tell_of_an_alarm_as_etcds_do() {
    same("pages_tell_of_an_alarm_as_etcds_do", |server| {
        block_on(async {
            let alarm = Op::Alarm { action: 1, who: Who::Own, alarm: 1 };
            Peer::connect(&server.url).await.answer(&alarm, 0, 0).await
        });
        PATHS.map(|path| (path, get(server, path)))
    });
}

#[test]
fn unknown_services_and_methods_are_refused_as_by_etcd() {
    same("unknown_services_and_methods_are_refused_as_by_etcd", |server| {
        ["KV/Nothing", "Nothing/Range", "Watch/Nothing"].map(|method| {
            block_on(async {
                let mut peer = Peer::connect(&server.url).await;
                let refused = peer.unary::<_, RangeResponse>(method, RangeRequest::default()).await.unwrap_err();
                (refused.code(), refused.message().to_owned())
            })
        })
    });
}

#[test]
fn a_message_beyond_the_limit_is_refused_as_by_etcd() {
    same("a_message_beyond_the_limit_is_refused_as_by_etcd", |server| {
        block_on(async {
            let mut peer = Peer::connect(&server.url).await;
            let request = RangeRequest { key: vec![b'x'; 3 << 20].into(), ..Default::default() };
            let refused = peer.unary::<_, RangeResponse>("KV/Range", request).await.unwrap_err();
            (refused.code(), refused.message().to_owned())
        })
    });
}

/// What etcd's tools check: how much is left never grows, and the last message is a checksum after whole blocks.
#[test]
fn a_snapshot_counts_down_and_ends_with_a_checksum() {
    for (kind, server) in each("a_snapshot_counts_down_and_ends_with_a_checksum") {
        let parts: Vec<SnapshotResponse> = block_on(async {
            let mut peer = Peer::connect(&server.url).await;
            peer.many("Maintenance/Snapshot", SnapshotRequest {}).await.unwrap()
        });
        let left: Vec<u64> = parts.iter().map(|part| part.remaining_bytes).collect();
        assert!(left.is_sorted_by(|a, b| a >= b) && left.last() == Some(&0), "{kind:?}: {left:?}");
        let bytes: usize = parts.iter().map(|part| part.blob.len()).sum();
        assert_eq!(bytes % 512, 32, "{kind:?}");
    }
}
