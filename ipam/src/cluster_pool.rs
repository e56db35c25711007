//! A cluster's ranges, cut into shares of one size: one a node and family.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use model::Prefix;

/// Ranges of one family, and how large a node's share of them is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterPool {
    ranges: Vec<Prefix>,
    bits: u8,
}

/// Ranges that cannot be cut so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidClusterPool {
    /// Of the wrong family.
    #[error("{0} is of the other family")]
    Family(Prefix),
    /// A share would be larger than the range, or have no room for a pod.
    #[error("shares of /{bits} cannot be cut from {range}: the mask size is {least} to {most}")]
    Bits {
        /// The range.
        range: Prefix,
        /// The share's.
        bits: u8,
        /// The widest.
        least: u8,
        /// The narrowest.
        most: u8,
    },
    /// Twice the same addresses.
    #[error("{0} and {1} overlap")]
    Overlap(Prefix, Prefix),
}

// === impl ClusterPool ===

impl ClusterPool {
    /// Ranges of one family, cut into shares of `bits`.
    ///
    /// # Errors
    ///
    /// [`InvalidClusterPool`].
    pub fn try_new(ranges: Vec<Prefix>, bits: u8, ipv4: bool) -> Result<Self, InvalidClusterPool> {
        for (at, range) in ranges.iter().enumerate() {
            if range.is_ipv4() != ipv4 {
                return Err(InvalidClusterPool::Family(*range));
            }
            let (least, most) = (range.bits(), if ipv4 { 30 } else { 126 });
            if !(least..=most).contains(&bits) {
                return Err(InvalidClusterPool::Bits { range: *range, bits, least, most });
            }
            if let Some(other) = ranges[..at].iter().find(|other| overlap(**other, *range)) {
                return Err(InvalidClusterPool::Overlap(*other, *range));
            }
        }
        Ok(Self { ranges, bits })
    }

    /// Whether there is nothing to hand out of this family.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether it hands out IPv4.
    pub fn is_ipv4(&self) -> bool {
        self.ranges.first().is_some_and(|range| range.is_ipv4())
    }

    /// Whether the range is one of its addresses.
    pub(crate) fn covers(&self, cidr: Prefix) -> bool {
        self.ranges.iter().any(|range| range.covers(cidr))
    }

    /// The ranges that are cut.
    pub fn ranges(&self) -> &[Prefix] {
        &self.ranges
    }

    /// The first share that shares no address with any of `taken`; `None` when all are.
    pub fn free<'a>(&self, taken: impl Iterator<Item = &'a Prefix>) -> Option<Prefix> {
        let (exact, odd): (Vec<Prefix>, Vec<Prefix>) = taken.partition(|prefix| prefix.bits() == self.bits);
        let exact: HashSet<Prefix> = exact.into_iter().collect();
        let is_free = |share: &Prefix| !exact.contains(share) && !odd.iter().any(|other| overlap(*other, *share));
        self.ranges.iter().flat_map(|range| shares(*range, self.bits)).find(is_free)
    }
}

/// Whether they have an address in common.
pub(crate) fn overlap(one: Prefix, other: Prefix) -> bool {
    one.covers(other) || other.covers(one)
}

fn shares(range: Prefix, bits: u8) -> impl Iterator<Item = Prefix> {
    let (first, width): (u128, u8) = match range.addr() {
        IpAddr::V4(ip) => (u128::from(ip.to_bits()), 32),
        IpAddr::V6(ip) => (ip.to_bits(), 128),
    };
    let count = 1u128 << (bits - range.bits()).min(127);
    let at = move |index: u128| {
        let start = first + (index << (width - bits));
        let addr = match width {
            32 => IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(start).ok()?)),
            _ => IpAddr::V6(Ipv6Addr::from_bits(start)),
        };
        Prefix::try_new(addr, bits).ok()
    };
    (0..count).map_while(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    #[test]
    fn shares_are_handed_out_in_turn_around_what_is_taken() {
        let pool = ClusterPool::try_new(vec![prefix("10.0.0.0/22"), prefix("10.9.0.0/24")], 24, true).unwrap();
        let mut taken = vec![prefix("10.0.2.0/25")];
        let mut got = Vec::new();
        while let Some(share) = pool.free(taken.iter()) {
            taken.push(share);
            got.push(share.to_string());
        }
        assert_eq!(got, ["10.0.0.0/24", "10.0.1.0/24", "10.0.3.0/24", "10.9.0.0/24"]);
        let pool = ClusterPool::try_new(vec![prefix("fd00::/104")], 112, false).unwrap();
        assert_eq!(pool.free([prefix("fd00::/112")].iter()), Some(prefix("fd00::1:0/112")));
        let wider = [prefix("fd00::/64")];
        assert_eq!(pool.free(wider.iter()), None);
    }

    #[test]
    fn ranges_that_cannot_be_cut_are_refused() {
        fn check(ranges: &[&str], bits: u8, part: &str) {
            let ranges = ranges.iter().map(|text| prefix(text)).collect();
            let error = ClusterPool::try_new(ranges, bits, true).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        check(&["fd00::/64"], 24, "fd00::/64 is of the other family");
        check(&["10.0.0.0/8"], 7, "shares of /7 cannot be cut from 10.0.0.0/8: the mask size is 8 to 30");
        check(&["10.0.0.0/8"], 31, "8 to 30");
        check(&["10.0.0.0/8", "10.1.0.0/16"], 24, "10.0.0.0/8 and 10.1.0.0/16 overlap");
    }
}
