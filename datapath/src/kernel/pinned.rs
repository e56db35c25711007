//! The kernel behind a directory of pins.

use super::{Kernel, KernelError, Pair, Result};
use crate::{
    Journal, MapId, pins,
    sys::{self, Hook},
};
use ebpf_abi::{ConfigCell, Plain, maps};
use std::{
    collections::HashMap,
    fs, io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Elements written or deleted by one call: the cost of the call is spread thin by then.
const BATCH: usize = 1024;

/// Maps opened by their pins, policy sets by their ids, programs where they were loaded.
pub struct Pinned {
    root: PathBuf,
    maps: HashMap<MapId, OwnedFd>,
    programs: Option<PodPrograms>,
    journal: Journal,
    policy_max: u32,
}

/// The programs that every pod interface gets.
#[derive(Clone)]
pub(crate) struct PodPrograms {
    pub(crate) ingress: Arc<OwnedFd>,
    pub(crate) egress: Arc<OwnedFd>,
}

impl Pinned {
    /// Opens the maps below `root` as they come; enough for dumps. Nothing can be attached.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            maps: HashMap::new(),
            programs: None,
            journal: Journal::default(),
            policy_max: maps::POLICY_SET.max_entries,
        }
    }

    pub(crate) fn with_programs(root: &Path, programs: PodPrograms, policy_max: u32) -> Self {
        Self { programs: Some(programs), policy_max, ..Self::new(root) }
    }

    /// Notes every write in this journal from now on.
    #[must_use]
    pub fn with_journal(mut self, journal: Journal) -> Self {
        self.journal = journal;
        self
    }

    /// The map's descriptor. `None`: a policy set that does not exist.
    fn open(&mut self, map: MapId) -> Result<Option<&OwnedFd>> {
        if !self.maps.contains_key(&map) {
            let failed = |source: io::Error| KernelError::Open { map, source };
            let fd = if let MapId::PolicySet(set) = map {
                let outer = self.require(MapId::Policy)?;
                let Some(id) = sys::lookup_elem(outer, set.as_bytes(), 4).map_err(failed)? else { return Ok(None) };
                sys::map_by_id(u32::from_bytes(&id).unwrap_or_default()).map_err(failed)?
            } else {
                sys::object_get(&pins::map(&self.root, map.spec())).map_err(failed)?
            };
            self.maps.insert(map, fd);
        }
        Ok(self.maps.get(&map))
    }

    fn require(&mut self, map: MapId) -> Result<&OwnedFd> {
        self.open(map)?.ok_or_else(|| KernelError::Open { map, source: io::Error::from_raw_os_error(libc::ENOENT) })
    }

    fn replace(&self, interface: &str, ifindex: u32, hook: Hook, program: &OwnedFd) -> io::Result<()> {
        attach_pinned(&pins::link(&self.root, interface, hook), ifindex, hook, program)
    }
}

/// Puts `program` at an interface: into the pinned link if that still holds on to the same
/// interface, else by a new link.
pub(crate) fn attach_pinned(path: &Path, ifindex: u32, hook: Hook, program: impl AsFd) -> io::Result<()> {
    match sys::object_get(path) {
        Ok(link) => {
            if sys::link_info(&link)?.ifindex == ifindex {
                return sys::link_update(&link, program);
            }
            // The interface went and took the link's hold with it.
            fs::remove_file(path)?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let link = sys::link_create(program, ifindex, hook)?;
    sys::object_pin(&link, path)
}

impl Pinned {
    fn write(&mut self, map: MapId, rows: &[Pair]) -> Result<()> {
        let fd = self.require(map)?;
        for chunk in rows.chunks(BATCH) {
            let keys: Vec<u8> = chunk.iter().flat_map(|(key, _)| key.iter().copied()).collect();
            let values: Vec<u8> = chunk.iter().flat_map(|(_, value)| value.iter().copied()).collect();
            sys::update_batch(fd, &keys, &values, chunk.len() as u32).map_err(|(_, source)| {
                match source.raw_os_error() {
                    Some(libc::ENOSPC | libc::E2BIG | libc::ENOMEM) => KernelError::Full { map },
                    _ => KernelError::Map { operation: "update", map, count: chunk.len(), source },
                }
            })?;
        }
        Ok(())
    }

    fn erase(&mut self, map: MapId, keys: &[Vec<u8>]) -> Result<()> {
        let Some(fd) = self.open(map)? else { return Ok(()) };
        let failed = |source| KernelError::Map { operation: "delete", map, count: keys.len(), source };
        for chunk in keys.chunks(BATCH) {
            let mut rest = chunk;
            while !rest.is_empty() {
                let flat: Vec<u8> = rest.iter().flatten().copied().collect();
                match sys::delete_batch(fd, &flat, rest.len() as u32) {
                    Ok(()) => break,
                    // The batch stops at a key that is not there: step over it.
                    Err((done, error)) if error.raw_os_error() == Some(libc::ENOENT) => {
                        rest = rest.get(done + 1..).unwrap_or_default();
                    }
                    Err((_, source)) => return Err(failed(source)),
                }
            }
        }
        Ok(())
    }

    /// Makes remembered verdicts stale. After the rows: a program reads the number before them.
    fn raise_policy_revision(&mut self, map: MapId) -> Result<()> {
        if !matches!(map, MapId::PolicySet(_)) {
            return Ok(());
        }
        let failed = |source| KernelError::Map { operation: "update", map: MapId::Config, count: 1, source };
        let config = self.require(MapId::Config)?;
        let cell = (ConfigCell::PolicyRevision as u32).as_bytes().to_vec();
        let value = sys::lookup_elem(config, &cell, 8).map_err(failed)?.unwrap_or_default();
        let next = u64::from_bytes(&value).unwrap_or_default().wrapping_add(1);
        sys::update_elem(config, &cell, next.as_bytes()).map_err(failed)
    }
}

impl Kernel for Pinned {
    fn update(&mut self, map: MapId, rows: &[Pair]) -> Result<()> {
        // Also after a failure: some rows may be written.
        let written = self.write(map, rows);
        self.journal.updated(map, rows, written.as_ref().err().map(ToString::to_string));
        self.raise_policy_revision(map)?;
        written
    }

    fn delete(&mut self, map: MapId, keys: &[Vec<u8>]) -> Result<()> {
        let erased = self.erase(map, keys);
        self.journal.deleted(map, keys, erased.as_ref().err().map(ToString::to_string));
        self.raise_policy_revision(map)?;
        erased
    }

    fn lookup(&mut self, map: MapId, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let Some(fd) = self.open(map)? else { return Ok(None) };
        sys::lookup_elem(fd, key, map.value_len()).map_err(|source| KernelError::Map {
            operation: "look up",
            map,
            count: 1,
            source,
        })
    }

    fn dump(&mut self, map: MapId) -> Result<Vec<Pair>> {
        let Some(fd) = self.open(map)? else { return Ok(Vec::new()) };
        sys::dump(fd, map.key_len(), map.value_len()).map_err(|source| KernelError::Map {
            operation: "dump",
            map,
            count: 0,
            source,
        })
    }

    fn create_set(&mut self, set: u32) -> Result<()> {
        let map = MapId::PolicySet(set);
        if self.open(map)?.is_some() {
            return Ok(());
        }
        let failed = |source: io::Error| KernelError::Map { operation: "create", map, count: 0, source };
        let spec = &maps::POLICY_SET;
        let fd =
            sys::create_map(spec.kind as u32, spec.key, spec.value, self.policy_max, spec.flags).map_err(failed)?;
        let value = std::os::fd::AsRawFd::as_raw_fd(&fd);
        let outer = self.require(MapId::Policy)?;
        sys::update_elem(outer, set.as_bytes(), &value.to_ne_bytes()).map_err(|source| {
            match source.raw_os_error() {
                Some(libc::ENOSPC | libc::E2BIG) => KernelError::Full { map: MapId::Policy },
                _ => failed(source),
            }
        })?;
        self.maps.insert(map, fd);
        Ok(())
    }

    fn drop_set(&mut self, set: u32) -> Result<()> {
        self.maps.remove(&MapId::PolicySet(set));
        let outer = self.require(MapId::Policy)?;
        sys::delete_elem(outer, set.as_bytes()).map(drop).map_err(|source| KernelError::Map {
            operation: "drop",
            map: MapId::PolicySet(set),
            count: 1,
            source,
        })?;
        self.raise_policy_revision(MapId::PolicySet(set))
    }

    fn policy_max(&self) -> u32 {
        self.policy_max
    }

    fn sets(&mut self) -> Result<Vec<u32>> {
        Ok(self.dump(MapId::Policy)?.into_iter().filter_map(|(key, _)| u32::from_bytes(&key)).collect())
    }

    fn attach(&mut self, interface: &str, ifindex: u32) -> Result<()> {
        let failed = |source| KernelError::Program { operation: "attach", interface: interface.to_owned(), source };
        let Some(programs) = self.programs.clone() else {
            return Err(failed(io::Error::other("the programs are not loaded here")));
        };
        // Egress first: once the pod can send, its own filter must be there for the answers.
        self.replace(interface, ifindex, Hook::Egress, &programs.egress).map_err(failed)?;
        self.replace(interface, ifindex, Hook::Ingress, &programs.ingress).map_err(failed)
    }

    fn detach(&mut self, interface: &str) -> Result<()> {
        for hook in [Hook::Ingress, Hook::Egress] {
            pins::remove_link(&pins::link(&self.root, interface, hook)).map_err(|source| KernelError::Program {
                operation: "detach",
                interface: interface.to_owned(),
                source,
            })?;
        }
        Ok(())
    }

    fn attached(&mut self) -> Result<Vec<String>> {
        pins::pod_interfaces(&self.root).map_err(|source| KernelError::Program {
            operation: "list",
            interface: self.root.display().to_string(),
            source,
        })
    }
}

impl Pinned {
    /// How many rows a map holds at most, as the kernel has it.
    ///
    /// # Errors
    /// [`KernelError::Open`].
    pub fn capacity(&mut self, map: MapId) -> Result<u32> {
        let info = sys::map_info(self.require(map)?);
        Ok(info.map_err(|source| KernelError::Open { map, source })?.max_entries)
    }

    /// A row of a per-CPU map, one value a CPU.
    ///
    /// # Errors
    /// As [`Kernel::lookup`].
    pub fn per_cpu(&mut self, map: MapId, key: &[u8]) -> Result<Vec<Vec<u8>>> {
        let failed = |source| KernelError::Map { operation: "look up", map, count: 1, source };
        let cpus = aya::util::nr_cpus().map_err(|(_, source)| failed(source))?;
        let fd = self.require(map)?;
        sys::lookup_per_cpu(fd, key, map.value_len(), cpus).map_err(failed)
    }
}
