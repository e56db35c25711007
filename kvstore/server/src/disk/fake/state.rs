//! What the machine holds: names and bytes, each as seen now and as a crash would find them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::disk::files::SECTOR;

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    /// The number of a file.
    File(u64),
    /// A directory.
    Directory,
}

/// A change of names that waits for a sync of its directory.
#[derive(Debug, Clone)]
pub(super) enum NameChange {
    Add { path: PathBuf, node: Node },
    Rename { from: PathBuf, to: PathBuf, node: Node },
    Remove { path: PathBuf },
}

/// The bytes of one file.
#[derive(Debug, Default)]
pub(super) struct Inode {
    /// As readers see them.
    pub(super) bytes: Vec<u8>,
    /// As synced.
    pub(super) durable: Vec<u8>,
    /// Sectors in which the two may differ and that a crash throws for.
    pub(super) unsynced: BTreeSet<usize>,
}

/// The whole file system.
#[derive(Debug)]
pub(super) struct State {
    pub(super) names: BTreeMap<PathBuf, Node>,
    durable_names: BTreeMap<PathBuf, Node>,
    waiting: Vec<NameChange>,
    pub(super) inodes: BTreeMap<u64, Inode>,
    next_number: u64,
    /// Counts crashes; handles of an earlier one are dead.
    pub(super) epoch: u64,
    pub(super) locks: BTreeSet<PathBuf>,
    pub(super) room: u64,
    pub(super) changes_left: Option<u64>,
    pub(super) lies: bool,
    pub(super) good_syncs_left: Option<u64>,
    dice: StdRng,
}

// === impl State ===

impl State {
    pub(super) fn new(seed: u64) -> Self {
        let names = BTreeMap::from([(PathBuf::from("/"), Node::Directory)]);
        Self {
            durable_names: names.clone(),
            names,
            waiting: Vec::new(),
            inodes: BTreeMap::new(),
            next_number: 1,
            epoch: 0,
            locks: BTreeSet::new(),
            room: 1 << 40,
            changes_left: None,
            lies: false,
            good_syncs_left: None,
            dice: StdRng::seed_from_u64(seed),
        }
    }

    /// Fails once the power is cut.
    pub(super) fn power(&self) -> io::Result<()> {
        if self.changes_left == Some(0) { Err(io::Error::other("the power is cut")) } else { Ok(()) }
    }

    /// Counts one change.
    pub(super) fn change(&mut self) -> io::Result<()> {
        self.power()?;
        if let Some(left) = &mut self.changes_left {
            *left -= 1;
        }
        Ok(())
    }

    /// Counts one sync, and says whether it is the one that fails.
    pub(super) fn sync_fails(&mut self) -> bool {
        let fails = self.good_syncs_left == Some(0);
        self.good_syncs_left = self.good_syncs_left.and_then(|left| left.checked_sub(1));
        fails
    }

    pub(super) fn file_number(&self, path: &Path) -> io::Result<u64> {
        match self.names.get(path) {
            Some(Node::File(number)) => Ok(*number),
            Some(Node::Directory) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn inode_at(&mut self, path: &Path) -> Option<&mut Inode> {
        let number = self.file_number(path).ok()?;
        self.inodes.get_mut(&number)
    }

    pub(super) fn require_directory(&self, dir: &Path) -> io::Result<()> {
        match self.names.get(dir) {
            Some(Node::Directory) => Ok(()),
            Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn require_parent(&self, path: &Path) -> io::Result<()> {
        self.require_directory(path.parent().unwrap_or(Path::new("/")))
    }

    pub(super) fn create(&mut self, path: &Path) -> io::Result<u64> {
        self.change()?;
        self.require_parent(path)?;
        if self.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let number = self.next_number;
        self.next_number += 1;
        self.inodes.insert(number, Inode::default());
        self.change_names(NameChange::Add { path: path.to_owned(), node: Node::File(number) });
        Ok(number)
    }

    /// Makes a change of names visible; durable it is after `sync_names`.
    pub(super) fn change_names(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.waiting.push(change);
        self.free_nameless();
    }

    pub(super) fn sync_names(&mut self, dir: &Path) {
        if self.lies {
            return;
        }
        let (now, later) =
            std::mem::take(&mut self.waiting).into_iter().partition(|change| change.directory() == Some(dir));
        self.waiting = later;
        let now: Vec<NameChange> = now;
        for change in now {
            change.apply(&mut self.durable_names);
        }
        self.free_nameless();
    }

    pub(super) fn sync_inode(&mut self, number: u64) -> io::Result<()> {
        let fails = self.sync_fails();
        if self.lies && !fails {
            return Ok(());
        }
        let Some(inode) = self.inodes.get_mut(&number) else { return Ok(()) };
        inode.durable.resize(inode.bytes.len(), 0);
        for sector in std::mem::take(&mut inode.unsynced) {
            if !fails || self.dice.random_bool(0.5) {
                inode.persist(sector);
            }
        }
        if fails { Err(io::Error::other("input/output error")) } else { Ok(()) }
    }

    pub(super) fn crash(&mut self) {
        // A journal keeps names in order; nothing promises it.
        let keep_order = self.dice.random_bool(0.5);
        let waiting = std::mem::take(&mut self.waiting);
        let in_order = self.dice.random_range(0..=waiting.len());
        for (at, change) in waiting.iter().enumerate() {
            if if keep_order { at < in_order } else { self.dice.random_bool(0.5) } {
                change.apply(&mut self.durable_names);
            }
        }
        let known = self.durable_names.clone();
        self.durable_names.retain(|path, _| path.ancestors().all(|above| known.contains_key(above)));
        self.names = self.durable_names.clone();
        let odds = [0.0, 0.1, 0.5, 0.9, 1.0][self.dice.random_range(0..5)];
        for inode in self.inodes.values_mut() {
            if inode.bytes.len() != inode.durable.len() && self.dice.random_bool(0.5) {
                inode.durable.resize(inode.bytes.len(), 0);
            }
            for sector in std::mem::take(&mut inode.unsynced) {
                if self.dice.random_bool(odds) {
                    inode.persist(sector);
                }
            }
            inode.bytes = inode.durable.clone();
        }
        self.free_nameless();
        self.kill();
    }

    pub(super) fn kill(&mut self) {
        self.locks.clear();
        self.epoch += 1;
        self.changes_left = None;
        self.good_syncs_left = None;
    }

    /// Files without a name, seen or durable, give their room back.
    fn free_nameless(&mut self) {
        let named: BTreeSet<u64> = (self.names.values().chain(self.durable_names.values()))
            .chain(self.waiting.iter().filter_map(|change| match change {
                NameChange::Add { node, .. } => Some(node),
                NameChange::Rename { .. } | NameChange::Remove { .. } => None,
            }))
            .filter_map(|node| if let Node::File(number) = node { Some(*number) } else { None })
            .collect();
        self.inodes.retain(|number, inode| {
            let stays = named.contains(number);
            if !stays {
                self.room += inode.bytes.len() as u64;
            }
            stays
        });
    }
}

// === impl NameChange ===

impl NameChange {
    fn directory(&self) -> Option<&Path> {
        let (Self::Add { path, .. } | Self::Rename { to: path, .. } | Self::Remove { path }) = self;
        path.parent()
    }

    /// A change whose ground is missing does nothing: its file has no name, or another file has it.
    fn apply(&self, names: &mut BTreeMap<PathBuf, Node>) {
        match self {
            Self::Add { path, node } => drop(names.insert(path.clone(), *node)),
            Self::Rename { from, to, node } => {
                if names.get(from) == Some(node) {
                    names.remove(from);
                    names.insert(to.clone(), *node);
                }
            }
            Self::Remove { path } => drop(names.remove(path)),
        }
    }
}

// === impl Inode ===

impl Inode {
    /// One sector reaches the disk.
    fn persist(&mut self, sector: usize) {
        let start = sector * SECTOR;
        let end = (start + SECTOR).min(self.bytes.len()).min(self.durable.len());
        if start < end {
            self.durable[start..end].copy_from_slice(&self.bytes[start..end]);
        }
    }
}
