//! Both families, and the file that outlives the process.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use model::Prefix;

use crate::{Exhausted, Pool};

/// The addresses of this node's pods.
pub struct Ipam {
    pools: Vec<Pool>,
    file: PathBuf,
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
    /// A family's range is used up; nothing was handed out.
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
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

// === impl Ipam ===

impl Ipam {
    /// Pools for `cidrs` with what `file` says is in use; what lies in no CIDR any more is forgotten.
    ///
    /// # Errors
    ///
    /// [`IpamError::Read`], [`IpamError::Format`].
    pub fn open(cidrs: impl IntoIterator<Item = Prefix>, file: &Path) -> Result<Self, IpamError> {
        let path = || file.to_path_buf();
        let held: BTreeMap<IpAddr, String> = match fs::read(file) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|source| IpamError::Format { path: path(), source })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(source) => return Err(IpamError::Read { path: path(), source }),
        };
        let mut pools: Vec<Pool> = cidrs.into_iter().map(Pool::new).collect();
        for (ip, owner) in held {
            for pool in &mut pools {
                pool.claim(ip, &owner);
            }
        }
        Ok(Self { pools, file: path() })
    }

    /// The pools, IPv4 first when there is one.
    pub fn pools(&self) -> &[Pool] {
        &self.pools
    }

    /// An address of each family for `owner`; the same ones when it has some already.
    ///
    /// # Errors
    ///
    /// [`IpamError::Exhausted`], [`IpamError::Write`]; nothing is then handed out.
    pub fn allocate(&mut self, owner: &str) -> Result<Lease, IpamError> {
        let before = self.pools.clone();
        let mut ips = Vec::new();
        for pool in &mut self.pools {
            let held = pool.owners().iter().find(|(_, holder)| *holder == owner).map(|(ip, _)| *ip);
            let given = held.map_or_else(|| pool.allocate(owner), Ok);
            match given {
                Ok(ip) => ips.push(ip),
                Err(exhausted) => {
                    self.pools = before;
                    return Err(exhausted.into());
                }
            }
        }
        if let Err(error) = self.save() {
            self.pools = before;
            return Err(error);
        }
        Ok(Lease { ips })
    }

    /// Gives an address back; who had it.
    ///
    /// # Errors
    ///
    /// [`IpamError::Write`]; the address is then still in use.
    pub fn release(&mut self, ip: IpAddr) -> Result<Option<String>, IpamError> {
        let before = self.pools.clone();
        let owner = self.pools.iter_mut().find_map(|pool| pool.release(ip));
        if owner.is_some()
            && let Err(error) = self.save()
        {
            self.pools = before;
            return Err(error);
        }
        Ok(owner)
    }

    fn save(&self) -> Result<(), IpamError> {
        let held: BTreeMap<_, _> = self.pools.iter().flat_map(Pool::owners).collect();
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
        let lease = open(&file).allocate("shop/cart").unwrap();
        assert_eq!(lease.ips.len(), 2);
        let mut again = open(&file);
        assert_eq!(again.allocate("shop/cart").unwrap(), lease);
        assert_ne!(again.allocate("shop/web").unwrap(), lease);
        assert_eq!(again.release(lease.ips[0]).unwrap().as_deref(), Some("shop/cart"));
        assert!(!open(&file).pools()[0].owners().contains_key(&lease.ips[0]));
    }

    #[test]
    fn nothing_is_handed_out_when_it_cannot_be_written_or_a_family_is_full() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ipam.json");
        fs::create_dir(&file).unwrap();
        assert!(matches!(Ipam::open([], &file), Err(IpamError::Read { .. })));
        let mut ipam = Ipam { pools: vec![Pool::new("10.0.0.0/24".parse().unwrap())], file: file.clone() };
        assert!(matches!(ipam.allocate("a"), Err(IpamError::Write { .. })));
        assert!(ipam.pools()[0].owners().is_empty());
        let tiny = ["10.0.0.0/24", "fd00::/127"].map(|cidr| cidr.parse().unwrap());
        let mut ipam = Ipam::open(tiny, &folder.path().join("other.json")).unwrap();
        assert!(matches!(ipam.allocate("a"), Err(IpamError::Exhausted(_))));
        assert!(ipam.pools()[0].owners().is_empty(), "the first family is given back");
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
