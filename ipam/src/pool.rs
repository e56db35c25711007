//! The addresses of one CIDR.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use model::Prefix;

/// Hands out the addresses of a CIDR in turn.
///
/// The network's own address, the router's (the first after it) and, for IPv4, the last one are never handed out. A
/// released address is not used again before all the others were: peers may still hold its old meaning.
#[derive(Debug, Clone)]
pub struct Pool {
    cidr: Prefix,
    owners: BTreeMap<IpAddr, String>,
    cursor: u128,
}

/// The CIDR has no free address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "range {cidr} is full, {used}/{capacity} addresses used: none is left for {owner}; delete pods or give the node a \
     larger range"
)]
pub struct Exhausted {
    /// The CIDR.
    pub cidr: Prefix,
    /// How many addresses are handed out.
    pub used: usize,
    /// How many there are.
    pub capacity: u128,
    /// Who asked.
    pub owner: String,
}

// === impl Pool ===

impl Pool {
    /// An empty pool.
    pub fn new(cidr: Prefix) -> Self {
        Self { cidr, owners: BTreeMap::new(), cursor: 0 }
    }

    /// The CIDR.
    pub fn cidr(&self) -> Prefix {
        self.cidr
    }

    /// The router's address: the first of the CIDR.
    pub fn router(&self) -> IpAddr {
        self.nth(1)
    }

    /// Who holds which address.
    pub fn owners(&self) -> &BTreeMap<IpAddr, String> {
        &self.owners
    }

    /// How many addresses can be handed out.
    pub fn capacity(&self) -> u128 {
        let reserved = if self.cidr.is_ipv4() { 3 } else { 2 };
        self.size().saturating_sub(reserved)
    }

    /// The next free address that is not `reserved`.
    ///
    /// # Errors
    ///
    /// [`Exhausted`].
    pub fn allocate(&mut self, owner: &str, reserved: &BTreeSet<IpAddr>) -> Result<IpAddr, Exhausted> {
        let capacity = self.capacity();
        let tries = capacity.min((self.owners.len() + reserved.len()) as u128 + 1);
        for _ in 0..tries {
            let ip = self.nth(2 + self.cursor);
            self.cursor = (self.cursor + 1) % capacity;
            if reserved.contains(&ip) {
                continue;
            }
            if let Entry::Vacant(free) = self.owners.entry(ip) {
                free.insert(owner.to_owned());
                return Ok(ip);
            }
        }
        // Holes may lie behind the run that was looked at.
        let mut all = (0..capacity.min(1 << 16)).map(|at| self.nth(2 + at));
        let free = all.find(|ip| !self.owners.contains_key(ip) && !reserved.contains(ip));
        let ip = free.ok_or_else(|| {
            // Namespace and pod; the rest of the owner is the runtime's.
            let owner = owner.split(':').next().unwrap_or(owner).to_owned();
            Exhausted { cidr: self.cidr, used: self.owners.len(), capacity, owner }
        })?;
        self.owners.insert(ip, owner.to_owned());
        Ok(ip)
    }

    /// Takes a given address; false when somebody else has it or it is not the pool's to give.
    pub fn claim(&mut self, ip: IpAddr, owner: &str) -> bool {
        let usable = self.cidr.contains(ip) && (2..2 + self.capacity()).contains(&self.offset(ip));
        if !usable || self.owners.get(&ip).is_some_and(|holder| holder != owner) {
            return false;
        }
        self.owners.insert(ip, owner.to_owned());
        true
    }

    /// Gives an address back; who had it.
    pub fn release(&mut self, ip: IpAddr) -> Option<String> {
        self.owners.remove(&ip)
    }

    fn size(&self) -> u128 {
        let width: u32 = if self.cidr.is_ipv4() { 32 } else { 128 };
        1u128.checked_shl(width - u32::from(self.cidr.bits())).unwrap_or(u128::MAX)
    }

    fn nth(&self, offset: u128) -> IpAddr {
        match self.cidr.addr() {
            IpAddr::V4(base) => Ipv4Addr::from_bits(base.to_bits().wrapping_add(offset as u32)).into(),
            IpAddr::V6(base) => Ipv6Addr::from_bits(base.to_bits().wrapping_add(offset)).into(),
        }
    }

    fn offset(&self, ip: IpAddr) -> u128 {
        match (ip, self.cidr.addr()) {
            (IpAddr::V4(ip), IpAddr::V4(base)) => ip.to_bits().wrapping_sub(base.to_bits()).into(),
            (IpAddr::V6(ip), IpAddr::V6(base)) => ip.to_bits().wrapping_sub(base.to_bits()),
            _ => u128::MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(cidr: &str) -> Pool {
        Pool::new(cidr.parse().unwrap())
    }

    #[test]
    fn hands_out_each_usable_address_once_then_says_so() {
        let mut pool = pool("10.0.0.0/29");
        let taken: Vec<String> = (0..5).map(|_| pool.allocate("pod", &BTreeSet::new()).unwrap().to_string()).collect();
        assert_eq!(taken, ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"]);
        let error = pool.allocate("demo/a:0123:eth0", &BTreeSet::new()).unwrap_err().to_string();
        assert!(
            error.starts_with("range 10.0.0.0/29 is full, 5/5 addresses used: none is left for demo/a;"),
            "{error}"
        );
        assert_eq!(pool.router().to_string(), "10.0.0.1");
    }

    #[test]
    fn released_address_is_the_last_to_come_back() {
        let mut pool = pool("fd00::/125");
        let first = pool.allocate("a", &BTreeSet::new()).unwrap();
        pool.release(first);
        let rest: Vec<IpAddr> = (0..5).map(|_| pool.allocate("b", &BTreeSet::new()).unwrap()).collect();
        assert!(!rest.contains(&first));
        assert_eq!(pool.allocate("c", &BTreeSet::new()).unwrap(), first);
    }

    #[test]
    fn claim_respects_owner_and_range() {
        let mut pool = pool("10.0.0.0/24");
        let ip = |text: &str| text.parse().unwrap();
        assert!(pool.claim(ip("10.0.0.9"), "a") && pool.claim(ip("10.0.0.9"), "a"));
        assert!(!pool.claim(ip("10.0.0.9"), "b"), "another owner");
        for outside in ["10.0.0.0", "10.0.0.1", "10.0.0.255", "10.0.1.2", "fd00::2"] {
            assert!(!pool.claim(ip(outside), "a"), "{outside}");
        }
    }
}
