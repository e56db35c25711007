//! Table `ip-pools`: CiliumPodIPPool objects, for the ranges that nodes get.
//!
//! Written by `k8s`; read by the operator.

use std::sync::Arc;

use model::Prefix;
use statedb::Row;

/// A pool of pod addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IpPool {
    /// Its name.
    pub name: Arc<str>,
    /// Its IPv4 ranges.
    pub ipv4: Option<PoolRanges>,
    /// And the IPv6 ones.
    pub ipv6: Option<PoolRanges>,
}

/// Ranges, and how large a share of them a node gets at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolRanges {
    /// The ranges.
    pub cidrs: Vec<Prefix>,
    /// The bits of a share.
    pub mask_size: u8,
}

impl Row for IpPool {
    type Key = Arc<str>;
    const TABLE: &'static str = "ip-pools";
    const COLUMNS: &'static [&'static str] = &["NAME", "IPV4", "IPV6"];

    fn key(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    fn cells(&self) -> Vec<String> {
        let family = |ranges: &Option<PoolRanges>| {
            let ranges = ranges.as_ref().map(|ranges| {
                let cidrs = ranges.cidrs.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
                format!("{cidrs} by /{}", ranges.mask_size)
            });
            ranges.unwrap_or_default()
        };
        vec![self.name.to_string(), family(&self.ipv4), family(&self.ipv6)]
    }
}
