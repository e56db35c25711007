//! What one more operation costs among few keys and among many: instructions of the core, without a disk or a socket.
//!
//! `cargo xtask bench growth` counts below `counted` with callgrind and fits the exponent. By itself it does the work:
//! `-- OPERATION KEYS`; with `wait` it prints `ready` before what is counted, and goes on when a line comes.

use bytes::Bytes;
use kvstore_server::{
    bare::Bare,
    pb::etcdserverpb::{PutRequest, RangeRequest, WatchCreateRequest},
};
use prost::Message;

/// Operations that are counted.
const COUNTED: u64 = 200;
const PAGE: i64 = 256;
/// Watches of keys of their own, one for each key up to here; the one that is told of is among them.
const WATCHES: u64 = 10_000;

fn key(number: u64) -> Bytes {
    // Scattered, so that one more lies anywhere in the order.
    format!("cilium/state/ip/v1/default/{:020}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15)).into()
}

fn put(key: Bytes) -> Bytes {
    PutRequest { key, value: Bytes::from_static(&[b'v'; 208]), ..Default::default() }.encode_to_vec().into()
}

/// A function of its own, so that callgrind can tell it from what comes before.
#[inline(never)]
fn counted(store: &mut Bare, operation: &str, request: Bytes) -> bool {
    match operation {
        "put" | "event" => store.put(request).is_some(),
        _ => store.range(request).is_some(),
    }
}

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let [_, operation, keys, ..] = &words[..] else { return };
    // cargo names a mode.
    let Ok(keys) = keys.parse::<u64>() else { return };
    let mut store = Bare::new();
    for number in 0..keys {
        assert!(store.put(put(key(number))).is_some());
    }
    if operation == "event" {
        for number in 0..keys.min(WATCHES) {
            store.watch(WatchCreateRequest { key: key(number), ..Default::default() });
        }
    }
    let request = |number: u64| match operation.as_str() {
        "put" => put(key(keys + number)),
        "event" => put(key(number * keys.min(WATCHES) / COUNTED)),
        "range" => RangeRequest { key: key(number * keys / COUNTED), ..Default::default() }.encode_to_vec().into(),
        "page" => RangeRequest {
            key: key(number * keys / COUNTED),
            range_end: Bytes::from_static(b"\0"),
            limit: PAGE,
            ..Default::default()
        }
        .encode_to_vec()
        .into(),
        "count" => RangeRequest {
            key: key(number * keys / COUNTED),
            range_end: Bytes::from_static(b"\0"),
            count_only: true,
            ..Default::default()
        }
        .encode_to_vec()
        .into(),
        other => panic!("{other} is none of put, range, page, count, event"),
    };
    let requests: Vec<Bytes> = (0..COUNTED).map(request).collect();
    if words.iter().any(|word| word == "wait") {
        println!("ready");
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).expect("a line to go on");
    }
    let mut done = 0;
    for request in requests {
        done += u64::from(counted(&mut store, operation, request));
    }
    assert_eq!(done, COUNTED, "an operation was refused");
    if operation == "event" {
        assert_eq!(store.told() as u64, COUNTED + keys.min(WATCHES), "each put is told to its one watch");
    }
}
