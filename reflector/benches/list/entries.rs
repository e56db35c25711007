//! Addresses of a made-up cluster, as its agents write them: 100 pods a node, 20 pods an identity.

use bytes::Bytes;
use kvstore::KeyValue;

/// The keys in the store's order, which is that of bytes and not that of addresses.
pub(crate) fn keys(count: u64) -> Vec<String> {
    let prefix = wire::ip::prefix(wire::Source::State);
    let mut keys: Vec<String> = (0..count).map(|at| format!("{prefix}{}", address(at))).collect();
    keys.sort();
    keys
}

fn address(at: u64) -> std::net::Ipv4Addr {
    let (node, pod) = (at / 100, at % 100);
    std::net::Ipv4Addr::from((10 << 24) + (node as u32) * 256 + pod as u32 + 2)
}

/// What stands under a key. The value is an agent's, byte for byte in its shape.
pub(crate) fn key_value(key: &str, at: u64) -> KeyValue {
    let ip = key.rsplit('/').next().unwrap_or_default();
    let (node, identity) = (at / 100, (2 << 16) + (at.wrapping_mul(0x9e37_79b9) >> 7) % 25_000);
    let [high, low] = ((node % 65_000) as u16).to_be_bytes();
    let value = format!(
        r#"{{"IP":"{ip}","Mask":null,"HostIP":"192.168.{high}.{low}","ID":{identity},"Key":0,"Metadata":"cilium-global:default:node-{node}:{}","K8sNamespace":"team-{}","K8sPodName":"web-{:x}-{at:05x}","K8sServiceAccount":"default"}}"#,
        at % 4000,
        identity % 300,
        identity * 7919,
    );
    KeyValue {
        key: Bytes::from(key.to_owned()),
        value: Bytes::from(value),
        create_revision: at as i64 + 1,
        mod_revision: at as i64 + 1,
        version: 1,
        lease: None,
    }
}
