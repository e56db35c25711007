//! The ranges of a node, by pool, and the file that outlives the process.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::Prefix;

use crate::{Exhausted, Pool, PoolNames};

/// The addresses of this node's pods.
///
/// Ranges come and go while it runs: one that went gives no address any more, and is forgotten with its last.
pub struct Ipam {
    ranges: Vec<Range>,
    /// Addresses in use of no range that is known yet.
    stray: BTreeMap<IpAddr, String>,
    /// Addresses that no pod gets: the node's own, of its ranges.
    reserved: BTreeSet<IpAddr>,
    /// Who asked a pool in vain, by family.
    lacking: BTreeSet<(Arc<str>, bool, String)>,
    file: PathBuf,
}

#[derive(Debug, Clone)]
struct Range {
    /// The name of its pool.
    name: Arc<str>,
    addresses: Pool,
    /// Whether it gives addresses.
    open: bool,
}

/// What an owner got: an address of each family that the node has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The addresses.
    pub ips: Vec<IpAddr>,
}

/// Why no address could be given.
#[derive(Debug, thiserror::Error)]
pub enum IpamError {
    /// A family's ranges are used up; nothing was handed out.
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
    /// The node has no range of a pool; nothing was handed out.
    #[error("this node has no {family} range of pool {pool:?} yet: none is left for {owner}")]
    NoRange {
        /// The pool.
        pool: Arc<str>,
        /// IPv4 or IPv6.
        family: &'static str,
        /// Who asked.
        owner: String,
    },
    /// The file could not be written, so the address would be forgotten: nothing was handed out.
    #[error("write addresses in use to {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is there and cannot be read.
    #[error("read addresses in use from {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not a map from address to owner.
    #[error("{} is not a JSON object from address to owner: remove it after all pods of this node are gone", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
}

/// Pods of a node that can lack an address at one time; a node has not many more pods.
const MAX_LACKING: usize = 1000;

// === impl Ipam ===

impl Ipam {
    /// The default pool's ranges, with what `file` says is in use.
    ///
    /// # Errors
    ///
    /// [`IpamError::Read`], [`IpamError::Format`].
    pub fn open(cidrs: impl IntoIterator<Item = Prefix>, file: &Path) -> Result<Self, IpamError> {
        let path = || file.to_path_buf();
        let stray: BTreeMap<IpAddr, String> = match fs::read(file) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|source| IpamError::Format { path: path(), source })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(source) => return Err(IpamError::Read { path: path(), source }),
        };
        let mut ipam =
            Self { ranges: Vec::new(), stray, reserved: BTreeSet::new(), lacking: BTreeSet::new(), file: path() };
        ipam.set_ranges(PoolNames::DEFAULT, &cidrs.into_iter().collect::<Vec<_>>());
        Ok(ipam)
    }

    /// Makes the ranges of a pool these, in this order of use.
    pub fn set_ranges(&mut self, pool: &str, cidrs: &[Prefix]) {
        let (mut held, others): (Vec<Range>, Vec<Range>) =
            std::mem::take(&mut self.ranges).into_iter().partition(|range| &*range.name == pool);
        self.ranges = others;
        for cidr in cidrs {
            let at = held.iter().position(|range| range.addresses.cidr() == *cidr);
            let addresses = at.map_or_else(|| Pool::new(*cidr), |at| held.swap_remove(at).addresses);
            self.ranges.push(Range { name: pool.into(), addresses, open: true });
        }
        held.retain(|range| !range.addresses.owners().is_empty());
        self.ranges.extend(held.into_iter().map(|range| Range { open: false, ..range }));
        let ranges = &mut self.ranges;
        self.stray.retain(|ip, owner| !ranges.iter_mut().any(|range| range.addresses.claim(*ip, owner)));
    }

    /// Keeps addresses from pods, instead of those kept until now; those that pods have already cannot be, and are told.
    pub fn reserve(&mut self, ips: impl IntoIterator<Item = IpAddr>) -> Vec<IpAddr> {
        let in_use = |ip: &IpAddr| self.owners().any(|(held, _)| held == ip);
        let (taken, reserved): (Vec<IpAddr>, Vec<IpAddr>) = ips.into_iter().partition(in_use);
        self.reserved = reserved.into_iter().collect();
        taken
    }

    /// The ranges with the names of their pools, in the order of use.
    pub fn ranges(&self) -> impl Iterator<Item = (&str, &Pool)> {
        self.ranges.iter().map(|range| (&*range.name, &range.addresses))
    }

    /// Ranges that gave an address, and have none in use now.
    pub fn is_unused(&self, pool: &str, cidr: Prefix) -> bool {
        let range = self.ranges.iter().find(|range| &*range.name == pool && range.addresses.cidr() == cidr);
        range.is_none_or(|range| range.addresses.owners().is_empty())
    }

    /// An address of each family of the default pool for `owner`, out of the pools named; the same ones when it has some
    /// already.
    ///
    /// # Errors
    ///
    /// [`IpamError::Exhausted`], [`IpamError::NoRange`], [`IpamError::Write`]; nothing is then handed out.
    pub fn allocate(&mut self, owner: &str, pools: &PoolNames) -> Result<Lease, IpamError> {
        let before = self.ranges.clone();
        let mut ips = Vec::new();
        for ipv4 in [true, false] {
            if !self.has_family(ipv4) {
                continue;
            }
            let need = (Arc::clone(pools.of(ipv4)), ipv4, who(owner));
            match self.one(owner, pools.of(ipv4), ipv4) {
                Ok(ip) => {
                    self.lacking.remove(&need);
                    ips.push(ip);
                }
                Err(error) => {
                    if self.lacking.len() < MAX_LACKING {
                        self.lacking.insert(need);
                    }
                    self.ranges = before;
                    return Err(error);
                }
            }
        }
        if let Err(error) = self.save() {
            self.ranges = before;
            return Err(error);
        }
        Ok(Lease { ips })
    }

    /// Whether pods have addresses of a family: the default pool's ranges say so.
    pub fn has_family(&self, ipv4: bool) -> bool {
        let of_family = |range: &&Range| range.addresses.cidr().is_ipv4() == ipv4 && range.open;
        self.ranges.iter().filter(of_family).any(|range| &*range.name == PoolNames::DEFAULT)
    }

    /// How many addresses of a pool and family are in use, or were asked for in vain.
    pub fn needs(&self) -> BTreeMap<(Arc<str>, bool), usize> {
        let mut needs = BTreeMap::new();
        for range in &self.ranges {
            let key = (Arc::clone(&range.name), range.addresses.cidr().is_ipv4());
            *needs.entry(key).or_default() += range.addresses.owners().len();
        }
        for (pool, ipv4, _) in &self.lacking {
            *needs.entry((Arc::clone(pool), *ipv4)).or_default() += 1;
        }
        needs
    }

    /// Whoever asked in vain has given up, or will ask again.
    pub fn forget_lacking(&mut self, owner: &str) {
        self.lacking.retain(|(_, _, who)| who != owner);
    }

    fn one(&mut self, owner: &str, pool: &Arc<str>, ipv4: bool) -> Result<IpAddr, IpamError> {
        let Self { ranges, reserved, .. } = self;
        let mut ranges: Vec<&mut Range> =
            ranges.iter_mut().filter(|range| range.addresses.cidr().is_ipv4() == ipv4).collect();
        let held = ranges.iter().flat_map(|range| range.addresses.owners()).find(|(_, holder)| *holder == owner);
        if let Some((ip, _)) = held {
            return Ok(*ip);
        }
        let mut full = None;
        for range in ranges.iter_mut().filter(|range| range.open && range.name == *pool) {
            match range.addresses.allocate(owner, reserved) {
                Ok(ip) => return Ok(ip),
                Err(exhausted) => drop(full.get_or_insert(exhausted)),
            }
        }
        match full {
            Some(exhausted) => Err(exhausted.into()),
            None => {
                let family = if ipv4 { "IPv4" } else { "IPv6" };
                Err(IpamError::NoRange { pool: Arc::clone(pool), family, owner: owner.to_owned() })
            }
        }
    }

    /// Gives an address back; who had it.
    ///
    /// # Errors
    ///
    /// [`IpamError::Write`]; the address is then still in use.
    pub fn release(&mut self, ip: IpAddr) -> Result<Option<String>, IpamError> {
        let before = (self.ranges.clone(), self.stray.clone());
        let given = self.ranges.iter_mut().find_map(|range| range.addresses.release(ip));
        let owner = given.or_else(|| self.stray.remove(&ip));
        self.ranges.retain(|range| range.open || !range.addresses.owners().is_empty());
        if owner.is_some()
            && let Err(error) = self.save()
        {
            (self.ranges, self.stray) = before;
            return Err(error);
        }
        Ok(owner)
    }

    fn owners(&self) -> impl Iterator<Item = (&IpAddr, &String)> {
        self.ranges.iter().flat_map(|range| range.addresses.owners()).chain(&self.stray)
    }

    fn save(&self) -> Result<(), IpamError> {
        let held: BTreeMap<_, _> = self.owners().collect();
        let write = || -> io::Result<()> {
            if let Some(folder) = self.file.parent() {
                fs::create_dir_all(folder)?;
            }
            let temporary = self.file.with_extension("tmp");
            let mut file = fs::File::create(&temporary)?;
            file.write_all(&serde_json::to_vec(&held)?)?;
            file.sync_all()?;
            fs::rename(&temporary, &self.file)
        };
        write().map_err(|source| IpamError::Write { path: self.file.clone(), source })
    }
}

/// The pod of an owner, whatever attempt it is.
fn who(owner: &str) -> String {
    owner.split(':').next().unwrap_or(owner).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(file: &Path) -> Ipam {
        Ipam::open(["10.0.0.0/24", "fd00::/64"].map(|cidr| cidr.parse().unwrap()), file).unwrap()
    }

    #[test]
    fn leases_survive_a_restart_and_an_owner_keeps_its_addresses() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ipam.json");
        let lease = open(&file).allocate("shop/cart", &PoolNames::default()).unwrap();
        assert_eq!(lease.ips.len(), 2);
        let mut again = open(&file);
        assert_eq!(again.allocate("shop/cart", &PoolNames::default()).unwrap(), lease);
        assert_ne!(again.allocate("shop/web", &PoolNames::default()).unwrap(), lease);
        assert_eq!(again.release(lease.ips[0]).unwrap().as_deref(), Some("shop/cart"));
        assert!(!open(&file).owners().any(|(ip, _)| *ip == lease.ips[0]));
    }

    #[test]
    fn nothing_is_handed_out_when_it_cannot_be_written_or_a_family_is_full() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ipam.json");
        fs::create_dir(&file).unwrap();
        assert!(matches!(Ipam::open([], &file), Err(IpamError::Read { .. })));
        let mut ipam = Ipam::open(["10.0.0.0/24".parse().unwrap()], &folder.path().join("new.json")).unwrap();
        ipam.file.clone_from(&file);
        assert!(matches!(ipam.allocate("a", &PoolNames::default()), Err(IpamError::Write { .. })));
        assert_eq!(ipam.owners().count(), 0);
        let tiny = ["10.0.0.0/24", "fd00::/127"].map(|cidr| cidr.parse().unwrap());
        let mut ipam = Ipam::open(tiny, &folder.path().join("other.json")).unwrap();
        assert!(matches!(ipam.allocate("a", &PoolNames::default()), Err(IpamError::Exhausted(_))));
        assert_eq!(ipam.owners().count(), 0, "the first family is given back");
    }

    #[test]
    fn ranges_follow_one_another_and_one_that_went_lives_until_its_last_address_is_back() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ipam.json");
        let (first, second): (Prefix, Prefix) = ("10.0.0.0/30".parse().unwrap(), "10.9.0.0/29".parse().unwrap());
        let mut ipam = Ipam::open([first, second], &file).unwrap();
        let pools = PoolNames::default();
        let give = |ipam: &mut Ipam, owner: &str| ipam.allocate(owner, &pools).map(|lease| lease.ips[0].to_string());
        assert_eq!(give(&mut ipam, "a").unwrap(), "10.0.0.2", "the only one of a /30");
        assert_eq!(give(&mut ipam, "b").unwrap(), "10.9.0.2");
        assert_eq!(
            ipam.reserve(["10.9.0.3", "10.9.0.2"].map(|ip| ip.parse().unwrap())).len(),
            1,
            "a pod has the other"
        );
        assert_eq!(give(&mut ipam, "c").unwrap(), "10.9.0.4", "10.9.0.3 is the node's");
        // After a restart the second range is not known at once; its addresses are in use all the same.
        let mut ipam = Ipam::open([first], &file).unwrap();
        assert!(give(&mut ipam, "d").is_err());
        ipam.set_ranges(PoolNames::DEFAULT, &[first, second]);
        assert_eq!(give(&mut ipam, "d").unwrap(), "10.9.0.3");
        ipam.set_ranges(PoolNames::DEFAULT, &[first]);
        assert!(give(&mut ipam, "e").is_err(), "the range is closed");
        assert_eq!(ipam.ranges().count(), 2);
        for ip in ["10.9.0.2", "10.9.0.3", "10.9.0.4"] {
            assert!(ipam.release(ip.parse().unwrap()).unwrap().is_some(), "{ip}");
        }
        assert_eq!(ipam.ranges().count(), 1);
    }

    #[test]
    fn a_pod_gets_its_addresses_out_of_the_pool_that_it_names() {
        let folder = tempfile::tempdir().unwrap();
        let mut ipam = open(&folder.path().join("ipam.json"));
        let blue = PoolNames { ipv4: "blue".into(), ..PoolNames::default() };
        let error = ipam.allocate("a", &blue).unwrap_err().to_string();
        assert_eq!(error, "this node has no IPv4 range of pool \"blue\" yet: none is left for a");
        ipam.set_ranges("blue", &["10.50.0.0/28".parse().unwrap()]);
        let ips = ipam.allocate("a", &blue).unwrap().ips;
        assert_eq!(ips.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.50.0.2", "fd00::2"]);
    }

    #[test]
    fn damaged_file_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ipam.json");
        fs::write(&file, "{").unwrap();
        let error = Ipam::open([], &file).err().unwrap().to_string();
        assert!(error.contains("ipam.json") && error.contains("remove it"), "{error}");
    }
}
