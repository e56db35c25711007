//! Which pools an object's annotations name.

use std::collections::BTreeMap;
use std::sync::Arc;

/// The pools that a Pod or its Namespace asks for, by family.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PoolChoice {
    /// Of the IPv4 address.
    pub ipv4: Option<Arc<str>>,
    /// Of the IPv6 address.
    pub ipv6: Option<Arc<str>>,
}

impl PoolChoice {
    /// `ipam.cilium.io/ip-pool` means both families; `ipv4-pool` and `ipv6-pool` one.
    pub fn from_annotations(annotations: &BTreeMap<String, String>) -> Self {
        let named = |key: &str| annotations.get(&format!("ipam.cilium.io/{key}")).filter(|name| !name.is_empty());
        let of = |key: &str| named(key).or_else(|| named("ip-pool")).map(|name| Arc::from(name.as_str()));
        Self { ipv4: of("ipv4-pool"), ipv6: of("ipv6-pool") }
    }
}
