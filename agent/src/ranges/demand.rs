//! How many addresses of each pool a node wants.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

use ipam::Ipam;
use model::{DEFAULT_POOL, RangeDemand, Wanted};

/// Addresses that are kept ready beyond those in use, by pool (`--ipam-multi-pool-pre-allocation`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PreAllocation(BTreeMap<Arc<str>, u32>);

// === impl PreAllocation ===

impl PreAllocation {
    /// Before any pod is there: one address of each family at least, for the router's range.
    pub(crate) fn at_first(&self) -> RangeDemand {
        let all = |count: u32| Wanted { ipv4: count, ipv6: count };
        let mut demand: RangeDemand = self.0.iter().map(|(pool, count)| (Arc::clone(pool), all(*count))).collect();
        let default = demand.entry(DEFAULT_POOL.into()).or_default();
        *default = all(default.ipv4.max(1));
        demand
    }

    /// What is in use, what pods asked for in vain, and what is kept ready; of the families that the node has.
    pub(crate) fn demand(&self, ipam: &Ipam) -> RangeDemand {
        let families = [true, false].map(|ipv4| ipam.has_family(ipv4));
        let mut demand = RangeDemand::new();
        let mut add = |pool: &Arc<str>, ipv4: bool, count: u32| {
            if families[usize::from(!ipv4)] {
                let wanted = demand.entry(Arc::clone(pool)).or_default();
                let slot = if ipv4 { &mut wanted.ipv4 } else { &mut wanted.ipv6 };
                *slot = slot.saturating_add(count);
            }
        };
        for ((pool, ipv4), count) in ipam.needs() {
            add(&pool, ipv4, u32::try_from(count).unwrap_or(u32::MAX));
        }
        for (pool, count) in &self.0 {
            add(pool, true, *count);
            add(pool, false, *count);
        }
        demand
    }
}

impl FromStr for PreAllocation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let one = |part: &str| {
            let (pool, count) = part.split_once('=')?;
            (!pool.is_empty()).then_some((Arc::from(pool), count.parse().ok()?))
        };
        let parts = text.split(',').filter(|part| !part.is_empty());
        let parts = parts.map(|part| one(part).ok_or_else(|| format!("{part:?} is not POOL=NUMBER")));
        parts.collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pools_and_numbers_are_read_and_a_first_range_is_always_wanted() {
        let ready: PreAllocation = "blue=4,default=0".parse().unwrap();
        assert_eq!(wire::own::encode_demand(&ready.at_first()), b"blue=4/4,default=1/1");
        assert_eq!("".parse::<PreAllocation>().unwrap(), PreAllocation::default());
        for bad in ["blue", "=1", "blue=x"] {
            assert!(bad.parse::<PreAllocation>().is_err(), "{bad}");
        }
    }
}
