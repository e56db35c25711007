//! `identities/v1`: numbers, the nodes that use them, and the locks of their allocation.
//!
//! ```text
//! id/<number>               the label string      no lease: lives until the operator collects it
//! value/<labels>/<node ip>  the number            leased: this node uses the identity
//! locks/<labels>/...        held while a number is looked for
//! locks/id/<number>/...     held while a number is collected
//! ```
//! Label keys contain `/`, so the label string in a `value/` key ends at the key's last slash.

use std::net::IpAddr;

use model::{Labels, NumericIdentity};

use crate::{Broken, DecodeError, Source, error::Fault, key::Resource, labels};

fn base() -> String {
    Source::State.base(Resource::Identities)
}

/// Master keys. A mirror has the cluster's name before `id`.
pub fn id_prefix(source: Source<'_>) -> String {
    let base = source.base(Resource::Identities);
    match source {
        Source::State => format!("{base}/id/"),
        Source::Cache(cluster) => format!("{base}/{cluster}/id/"),
    }
}

pub fn id_key(number: NumericIdentity) -> String {
    format!("{}{number}", id_prefix(Source::State))
}

/// Slave keys of every label set.
pub fn value_prefix_all() -> String {
    format!("{}/value/", base())
}

/// Slave keys of these labels. A list of it also returns sets of which this one is the start up to
/// a slash: [`parse_value_key`] tells them apart.
pub fn value_prefix(labels: &Labels) -> String {
    format!("{}{}/", value_prefix_all(), labels::encode(labels))
}

/// `node_ip`: IPv4 if the node has one, else IPv6.
pub fn value_key(labels: &Labels, node_ip: IpAddr) -> String {
    format!("{}{node_ip}", value_prefix(labels))
}

/// The label string and the node suffix of a slave key.
pub fn parse_value_key(key: &str) -> Option<(&str, &str)> {
    let (labels, node) = key.strip_prefix(&value_prefix_all())?.rsplit_once('/')?;
    (labels.ends_with(';') && !node.is_empty()).then_some((labels, node))
}

/// The lock that allocators of these labels hold.
pub fn lock_path(labels: &Labels) -> String {
    format!("{}{}", locks_prefix(), labels::encode(labels))
}

/// The lock that the collector of this number holds. Never the path of an allocation: label strings
/// end with `;`.
pub fn id_lock_path(number: NumericIdentity) -> String {
    format!("{}id/{number}", locks_prefix())
}

/// All locks, for the sweeper.
pub fn locks_prefix() -> String {
    format!("{}/locks/", base())
}

/// A master key's value.
pub fn encode(labels: &Labels) -> Vec<u8> {
    labels::encode(labels).into_bytes()
}

/// `name` is the rest of the key after [`id_prefix`].
pub fn decode(key: &str, name: &str, value: &[u8]) -> Result<(NumericIdentity, Labels), DecodeError> {
    let number = parse_number(key, name)?;
    Ok((number, labels::decode(key, value)?))
}

/// The number that the rest of a master key stands for: enough for a delete.
pub fn parse_number(key: &str, name: &str) -> Result<NumericIdentity, DecodeError> {
    name.parse().map_err(|_| Fault::new(Broken::Identity(name.to_owned())).of(key))
}

/// A slave key's value.
pub fn encode_number(number: NumericIdentity) -> Vec<u8> {
    number.to_string().into_bytes()
}

pub fn decode_number(key: &str, value: &[u8]) -> Result<NumericIdentity, DecodeError> {
    parse_number(key, &String::from_utf8_lossy(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> Labels {
        labels::decode("k", text.as_bytes()).unwrap()
    }

    #[test]
    fn paths() {
        let labels = set("k8s:a=1;k8s:b/c=2;");
        let east = "east".parse().unwrap();
        assert_eq!(id_prefix(Source::Cache(&east)), "cilium/cache/identities/v1/east/id/");
        assert_eq!(id_key(NumericIdentity::new(7)), "cilium/state/identities/v1/id/7");
        assert_eq!(lock_path(&labels), "cilium/state/identities/v1/locks/k8s:a=1;k8s:b/c=2;");
        assert_eq!(id_lock_path(NumericIdentity::new(7)), "cilium/state/identities/v1/locks/id/7");
        let key = value_key(&labels, "10.0.0.1".parse().unwrap());
        assert_eq!(key, "cilium/state/identities/v1/value/k8s:a=1;k8s:b/c=2;/10.0.0.1");
        assert_eq!(parse_value_key(&key), Some(("k8s:a=1;k8s:b/c=2;", "10.0.0.1")));
    }

    #[test]
    fn a_longer_label_set_below_the_same_prefix_is_told_apart() {
        // `k8s:a=1;` and `k8s:a=1;/...` share a prefix when a label has no source but a slash.
        let short = value_prefix(&set("k8s:a=1;"));
        let key = format!("{short}x:b=2;/10.0.0.1");
        assert!(key.starts_with(&short));
        assert_eq!(parse_value_key(&key), Some(("k8s:a=1;/x:b=2;", "10.0.0.1")));
        assert_eq!(parse_value_key("cilium/state/identities/v1/value/k8s:a=1;/"), None);
        assert_eq!(parse_value_key("cilium/state/identities/v1/value/10.0.0.1"), None);
        assert_eq!(parse_value_key("cilium/state/identities/v1/id/7"), None);
    }

    #[test]
    fn numbers_are_decimal() {
        assert!(decode("k", "131072", b"k8s:a=;").is_ok());
        for bad in ["", "x", "+1", "-1", "4294967296", "1 "] {
            assert!(decode("k", bad, b"k8s:a=;").is_err(), "{bad}");
            assert!(decode_number("k", bad.as_bytes()).is_err(), "{bad}");
        }
        assert_eq!(decode_number("k", &encode_number(NumericIdentity::new(9))), Ok(NumericIdentity::new(9)));
    }
}
