//! What the lazy file system holds: files and directories, each as seen and as synced.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::time::UNIX_EPOCH;

use fuser::{Errno, FileAttr, FileType, INodeNo};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const ROOT: u64 = 1;
const SECTOR: usize = 512;

/// An answer, or the error that the process gets.
pub(super) type Outcome<T> = Result<T, Errno>;

/// The whole file system.
pub(super) struct State {
    nodes: BTreeMap<u64, Node>,
    next_number: u64,
    pub(super) lies: bool,
    pub(super) syncs: u64,
    pub(super) lost: u64,
    dice: StdRng,
}

struct Node {
    mode: u32,
    content: Content,
}

enum Content {
    File(File),
    Directory(Directory),
}

/// A file.
#[derive(Default)]
pub(super) struct File {
    /// As seen.
    pub(super) bytes: Vec<u8>,
    synced: Vec<u8>,
    /// Sectors in which the two may differ.
    changed: BTreeSet<usize>,
}

/// A directory.
#[derive(Default)]
struct Directory {
    /// As seen.
    names: BTreeMap<OsString, u64>,
    synced: BTreeMap<OsString, u64>,
    /// What leads from the synced names to those seen: removals and additions that belong together.
    changes: Vec<Change>,
}

#[derive(Clone)]
struct Change {
    removes: Option<(OsString, u64)>,
    adds: Option<(OsString, u64)>,
}

// === impl State ===

impl State {
    pub(super) fn new(seed: u64) -> Self {
        let root = Node { mode: 0o755, content: Content::Directory(Directory::default()) };
        let nodes = BTreeMap::from([(ROOT, root)]);
        Self { nodes, next_number: ROOT + 1, lies: false, syncs: 0, lost: 0, dice: StdRng::seed_from_u64(seed) }
    }

    pub(super) fn attributes(&self, number: u64) -> Outcome<FileAttr> {
        let node = self.nodes.get(&number).ok_or(Errno::ENOENT)?;
        let (kind, size) = match &node.content {
            Content::File(file) => (FileType::RegularFile, file.bytes.len() as u64),
            Content::Directory(_) => (FileType::Directory, 0),
        };
        Ok(FileAttr {
            ino: INodeNo(number),
            size,
            blocks: size.div_ceil(SECTOR as u64),
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm: (node.mode & 0o7777) as u16,
            nlink: 1,
            uid: nix::unistd::getuid().as_raw(),
            gid: nix::unistd::getgid().as_raw(),
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }

    pub(super) fn lookup(&mut self, parent: u64, name: &OsStr) -> Outcome<u64> {
        self.directory(parent)?.names.get(name).copied().ok_or(Errno::ENOENT)
    }

    pub(super) fn list(&mut self, number: u64) -> Outcome<Vec<(u64, FileType, OsString)>> {
        let names: Vec<_> = self.directory(number)?.names.iter().map(|(name, node)| (*node, name.clone())).collect();
        let dots = [(number, FileType::Directory, ".".into()), (number, FileType::Directory, "..".into())];
        let named = names.into_iter().map(|(number, name)| (number, self.kind(number), name));
        Ok(dots.into_iter().chain(named).collect())
    }

    pub(super) fn create(&mut self, parent: u64, name: &OsStr, mode: u32, directory: bool) -> Outcome<u64> {
        let number = self.next_number;
        let above = self.directory(parent)?;
        if above.names.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        above.apply(Change { removes: None, adds: Some((name.to_owned(), number)) });
        self.next_number += 1;
        let content = if directory { Content::Directory(Directory::default()) } else { Content::File(File::default()) };
        self.nodes.insert(number, Node { mode, content });
        Ok(number)
    }

    pub(super) fn remove(&mut self, parent: u64, name: &OsStr) -> Outcome<()> {
        let number = self.lookup(parent, name)?;
        self.directory(parent)?.apply(Change { removes: Some((name.to_owned(), number)), adds: None });
        Ok(())
    }

    pub(super) fn rename(&mut self, parent: u64, name: &OsStr, new_name: &OsStr) -> Outcome<()> {
        let number = self.lookup(parent, name)?;
        let adds = Some((new_name.to_owned(), number));
        self.directory(parent)?.apply(Change { removes: Some((name.to_owned(), number)), adds });
        Ok(())
    }

    pub(super) fn change(&mut self, number: u64, mode: Option<u32>, size: Option<u64>) -> Outcome<()> {
        let node = self.nodes.get_mut(&number).ok_or(Errno::ENOENT)?;
        node.mode = mode.unwrap_or(node.mode);
        if let Some(size) = size {
            self.file(number)?.bytes.resize(size as usize, 0);
        }
        Ok(())
    }

    pub(super) fn file(&mut self, number: u64) -> Outcome<&mut File> {
        match self.nodes.get_mut(&number).map(|node| &mut node.content) {
            Some(Content::File(file)) => Ok(file),
            Some(Content::Directory(_)) => Err(Errno::EISDIR),
            None => Err(Errno::ENOENT),
        }
    }

    pub(super) fn sync_file(&mut self, number: u64) -> Outcome<()> {
        self.syncs += 1;
        let lies = self.lies;
        let file = self.file(number)?;
        if !lies {
            file.persist(|| true);
        }
        Ok(())
    }

    pub(super) fn sync_directory(&mut self, number: u64) -> Outcome<()> {
        self.syncs += 1;
        let lies = self.lies;
        let directory = self.directory(number)?;
        if !lies {
            directory.synced = directory.names.clone();
            directory.changes.clear();
        }
        Ok(())
    }

    pub(super) fn crash(&mut self) {
        let odds = [0.0, 0.1, 0.5, 0.9, 1.0][self.dice.random_range(0..5)];
        let dice = &mut self.dice;
        self.lost = 0;
        for node in self.nodes.values_mut() {
            match &mut node.content {
                Content::File(file) => {
                    self.lost += file.persist(|| dice.random_bool(odds));
                    file.bytes = file.synced.clone();
                }
                Content::Directory(directory) => {
                    for change in std::mem::take(&mut directory.changes) {
                        if !dice.random_bool(odds) || !change.apply(&mut directory.synced) {
                            self.lost += 1;
                        }
                    }
                    directory.names = directory.synced.clone();
                }
            }
        }
        self.free_nameless();
    }

    fn free_nameless(&mut self) {
        let mut named = BTreeSet::from([ROOT]);
        let mut pending = vec![ROOT];
        while let Some(number) = pending.pop() {
            if let Some(Node { content: Content::Directory(directory), .. }) = self.nodes.get(&number) {
                pending.extend(directory.names.values().copied().filter(|number| named.insert(*number)));
            }
        }
        self.nodes.retain(|number, _| named.contains(number));
    }

    fn directory(&mut self, number: u64) -> Outcome<&mut Directory> {
        match self.nodes.get_mut(&number).map(|node| &mut node.content) {
            Some(Content::Directory(directory)) => Ok(directory),
            Some(Content::File(_)) => Err(Errno::ENOTDIR),
            None => Err(Errno::ENOENT),
        }
    }

    fn kind(&self, number: u64) -> FileType {
        match self.nodes.get(&number).map(|node| &node.content) {
            Some(Content::Directory(_)) => FileType::Directory,
            _ => FileType::RegularFile,
        }
    }
}

// === impl File ===

impl File {
    pub(super) fn write(&mut self, start: usize, data: &[u8]) {
        let end = start + data.len();
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes[start..end].copy_from_slice(data);
        self.changed.extend(start / SECTOR..end.div_ceil(SECTOR));
    }

    /// Makes durable the length and those changed sectors that `reaches` the disk; says how many do not.
    fn persist(&mut self, mut reaches: impl FnMut() -> bool) -> u64 {
        let mut lost = 0;
        if self.synced.len() != self.bytes.len() {
            if reaches() {
                self.synced.resize(self.bytes.len(), 0);
            } else {
                lost += 1;
            }
        }
        for sector in std::mem::take(&mut self.changed) {
            let start = sector * SECTOR;
            let end = (start + SECTOR).min(self.bytes.len()).min(self.synced.len());
            if !reaches() {
                lost += 1;
            } else if start < end {
                self.synced[start..end].copy_from_slice(&self.bytes[start..end]);
            }
        }
        lost
    }
}

// === impl Directory ===

impl Directory {
    fn apply(&mut self, change: Change) {
        change.apply(&mut self.names);
        self.changes.push(change);
    }
}

// === impl Change ===

impl Change {
    /// Whether it could be done: what it removes may never have become durable.
    fn apply(&self, names: &mut BTreeMap<OsString, u64>) -> bool {
        if let Some((name, number)) = &self.removes {
            if names.get(name) != Some(number) {
                return false;
            }
            names.remove(name);
        }
        if let Some((name, number)) = &self.adds {
            names.insert(name.clone(), *number);
        }
        true
    }
}
