//! Connections that are no clients: each is bounded and counted, and others are served meanwhile.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{certificates::Authority, server::Store};

/// Longer than a greeting may last.
const GREETING: Duration = Duration::from_secs(15);
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];

fn closed(reason: &str) -> String {
    format!("causeway_store_connections_closed_total{{reason=\"{reason}\"}}")
}

/// Waits until the server has closed it.
async fn ends(socket: &mut TcpStream) {
    let mut rest = [0; 4096];
    let ended = timeout(GREETING, async { while !matches!(socket.read(&mut rest).await, Ok(0) | Err(_)) {} });
    ended.await.expect("the server closes it");
}

async fn send(store: &Store, bytes: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(store.plain_address()).await.unwrap();
    // The server may have closed it before all of it was written.
    let _ = socket.write_all(bytes).await;
    socket
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_silent_connections_are_closed_and_keep_nobody_out() {
    let folder = tempfile::tempdir().unwrap();
    let ca = Authority::new(folder.path(), "ca");
    let store = Store::tls(&ca, |_| {});
    let mut silent = Vec::new();
    for n in 0..1_000 {
        // Half of them never begin their handshake.
        let address = if n % 2 == 0 { store.address() } else { store.plain_address() };
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    store.metric_reaches("causeway_store_connections_greeting", 1_000).await;
    store.serves().await;
    store.secure_client(&ca, None).await.unwrap();
    for socket in &mut silent {
        ends(socket).await;
    }
    assert_eq!(store.metric_reaches(&closed("silent"), 500).await, 500);
    let slow = r#"causeway_store_tls_handshake_failures_total{reason="slow"}"#;
    assert_eq!(store.metric_reaches(slow, 500).await, 500);
    // The one that asks is the one that is left.
    assert!(store.metric("causeway_store_connections").await < 10);
    store.serves().await;
}

/// CVE of etcd, 2026: a handshake had no deadline.
#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_never_ends_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    let ca = Authority::new(folder.path(), "ca");
    let store = Store::tls(&ca, |_| {});
    let mut socket = TcpStream::connect(store.address()).await.unwrap();
    // A record of 512 bytes, of which one comes each second.
    socket.write_all(&[22, 3, 1, 2, 0, 1, 0, 1, 0xfc]).await.unwrap();
    let began = std::time::Instant::now();
    while began.elapsed() < GREETING && socket.write_all(&[3]).await.is_ok() {
        let mut answer = [0; 64];
        if let Ok(Ok(0) | Err(_)) = timeout(Duration::from_secs(1), socket.read(&mut answer)).await {
            break;
        }
    }
    assert!(began.elapsed() < GREETING, "it is still open");
    store.metric_reaches(r#"causeway_store_tls_handshake_failures_total{reason="slow"}"#, 1).await;
    store.secure_client(&ca, None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_closed_and_counted() {
    let store = Store::plain();
    let mut seed = 7_u64;
    let mut garbage = vec![0; 1 << 20];
    for byte in &mut garbage {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        *byte = (seed >> 33) as u8;
    }
    for bytes in [garbage.as_slice(), &[PREFACE, &garbage].concat(), &[PREFACE, &SETTINGS, &garbage].concat()] {
        ends(&mut send(&store, bytes).await).await;
    }
    assert_eq!(store.metric_reaches(&closed("not-http"), 3).await, 3);
    store.serves().await;
}

/// A preface, and nothing after it: the other half of the connection is gone.
#[tokio::test(flavor = "multi_thread")]
async fn half_open_connections_are_let_go() {
    let store = Store::plain();
    let mut half = Vec::new();
    for bytes in [b"".as_slice(), b"PRI", b"GET /health HT"] {
        let mut socket = send(&store, bytes).await;
        socket.shutdown().await.unwrap();
        half.push(socket);
    }
    for socket in &mut half {
        ends(socket).await;
    }
    // Half of a preface, from a client that stays.
    ends(&mut send(&store, b"PRI * HTTP/2.0\r\n").await).await;
    ends(&mut send(&store, b"GET /health HTTP/1.1\r\nhost:").await).await;
    assert_eq!(store.metric_reaches(&closed("silent"), 1).await, 1);
    assert_eq!(store.metric_reaches(&closed("slow"), 1).await, 1);
    store.serves().await;
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// GET / on scheme http, by the static table.
const HEADERS: [u8; 3] = [0x82, 0x84, 0x86];
const END_HEADERS: u8 = 4;
const END_STREAM: u8 = 1;
const CANCEL: [u8; 4] = [0, 0, 0, 8];

/// CVE-2023-44487: streams are opened and reset as fast as the wire takes them.
#[tokio::test(flavor = "multi_thread")]
async fn rapid_resets_end_the_connection() {
    let store = Store::plain();
    let mut bytes = [PREFACE, &SETTINGS].concat();
    for stream in (1..200_001).step_by(2) {
        bytes.extend(frame(1, END_HEADERS | END_STREAM, stream, &HEADERS));
        bytes.extend(frame(3, 0, stream, &CANCEL));
    }
    ends(&mut send(&store, &bytes).await).await;
    assert_eq!(store.metric_reaches(&closed("too-many-resets"), 1).await, 1);
    store.serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_are_too_large_are_refused() {
    let store = Store::plain();
    let long = "x".repeat(1 << 20);
    let mut socket = send(&store, format!("GET /health HTTP/1.1\r\nhost: x\r\nlong: {long}\r\n\r\n").as_bytes()).await;
    ends(&mut socket).await;
    assert_eq!(store.metric_reaches(&closed("too-large-head"), 1).await, 1);
    // HTTP/2: a header in pieces without an end.
    let mut bytes = [PREFACE, &SETTINGS, &frame(1, 0, 1, &HEADERS)].concat();
    for _ in 0..1_000 {
        bytes.extend(frame(9, 0, 1, &[b'x'; 16_000]));
    }
    ends(&mut send(&store, &bytes).await).await;
    store.metric_reaches(&closed("too-many-resets"), 1).await;
    store.serves().await;
}
