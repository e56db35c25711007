//! One function per decoder for fuzzers: the first line of the input is the rest of a key, what
//! follows is the value.
//!
//! Each panics when a decoder does, and when something that was accepted does not come back equal
//! after it was written and read again.

use std::fmt::Debug;

use crate::{cluster_config, endpoint_slice, identity, ip, labels, lock, node, service, service_export, synced};

/// Panics on a fault.
pub type Target = fn(&[u8]);

/// Every target by its name, which is also that of its corpus.
pub const TARGETS: [(&str, Target); 9] = [
    ("ip", ip),
    ("node", node),
    ("service", service),
    ("service_export", service_export),
    ("cluster_config", cluster_config),
    ("identity", identity),
    ("label_string", label_string),
    ("endpoint_slice", endpoint_slice),
    ("key", key),
];

fn split(data: &[u8]) -> Option<(&str, &[u8])> {
    let end = data.iter().position(|b| *b == b'\n')?;
    Some((std::str::from_utf8(&data[..end]).ok()?, &data[end + 1..]))
}

fn same<T: PartialEq + Debug, E: Debug>(first: &T, again: Result<T, E>) {
    match again {
        Ok(again) => assert_eq!(first, &again, "changed by writing and reading"),
        Err(error) => panic!("cannot read what we wrote: {error:?}\n{first:?}"),
    }
}

pub fn ip(data: &[u8]) {
    let Some((name, value)) = split(data) else { return };
    if let Ok(entry) = ip::decode("k", name, value) {
        same(&entry, ip::decode("k", &entry.prefix.to_string(), &ip::encode(&entry)));
    }
}

pub fn node(data: &[u8]) {
    let Some((name, value)) = split(data) else { return };
    if let Ok(node) = node::decode("k", name, value) {
        same(&node, node::decode("k", name, &node::encode(&node)));
    }
}

pub fn service(data: &[u8]) {
    let Some((name, value)) = split(data) else { return };
    if let Ok(service) = service::decode("k", name, value) {
        same(&service, service::decode("k", name, &service::encode(&service)));
        service.to_backends();
    }
}

pub fn service_export(data: &[u8]) {
    let Some((name, value)) = split(data) else { return };
    if let Ok(mut export) = service_export::decode("k", name, value) {
        // Fractions of a second are not written.
        if let Ok(whole) = jiff::Timestamp::from_second(export.created.as_second()) {
            export.created = whole;
        }
        same(&export, service_export::decode("k", name, &service_export::encode(&export)));
    }
}

pub fn cluster_config(data: &[u8]) {
    let Some((_, value)) = split(data) else { return };
    if let Ok(config) = cluster_config::decode("k", value) {
        same(&config, cluster_config::decode("k", &cluster_config::encode(&config)));
    }
}

pub fn identity(data: &[u8]) {
    let Some((name, value)) = split(data) else { return };
    if let Ok((number, labels)) = identity::decode("k", name, value) {
        let key = identity::id_key(number);
        let name = key.rsplit('/').next().unwrap_or_default();
        same(&(number, labels.clone()), identity::decode("k", name, &identity::encode(&labels)));
    }
    let _ = identity::decode_number("k", value);
}

pub fn label_string(data: &[u8]) {
    let Some((_, value)) = split(data) else { return };
    if let Ok(labels) = labels::decode("k", value) {
        let text = labels::encode(&labels);
        same(&labels, labels::decode("k", text.as_bytes()));
        assert!(labels::is_canonical(&labels, text.as_bytes()));
        let key = identity::value_key(&labels, std::net::Ipv4Addr::LOCALHOST.into());
        assert_eq!(identity::parse_value_key(&key), Some((text.as_str(), "127.0.0.1")));
    }
}

pub fn endpoint_slice(data: &[u8]) {
    let Some((name, value)) = split(data) else { return };
    let _ = endpoint_slice::decode("k", name, value);
}

pub fn key(data: &[u8]) {
    let Some((name, _)) = split(data) else { return };
    let _ = identity::parse_value_key(name);
    let _ = lock::lease_of(name);
    let _ = synced::parse(crate::Source::State, name);
}
