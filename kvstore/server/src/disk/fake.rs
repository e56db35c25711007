//! A file system in memory that keeps only what it must.
//!
//! It follows the rules of [`super::files`] to the letter and no further: at [`FaultyFiles::crash`] every 512-byte
//! sector and every name that was not synced survives or not by the throw of a seeded die. Files of one directory, names
//! and sectors are thrown for separately, so a renamed file may have its name and not its bytes.

mod file;
mod state;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::files::{DiskFile, Files, Lock, Mode, SharedFiles};
use state::{NameChange, Node, State};

/// The file system; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct FaultyFiles {
    state: Arc<Mutex<State>>,
}

/// A lock that goes when it is dropped or the machine crashes.
#[derive(Debug)]
struct FakeLock {
    state: Arc<Mutex<State>>,
    path: PathBuf,
    epoch: u64,
}

// === impl FaultyFiles ===

impl FaultyFiles {
    /// An empty file system with the directory `/`, whose dice follow `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: Arc::new(Mutex::new(State::new(seed))) }
    }

    /// The same, as the code under test takes it.
    pub(crate) fn shared(&self) -> SharedFiles {
        Arc::new(self.clone())
    }

    /// The machine loses power and comes back. Files and locks that were open are dead.
    pub(crate) fn crash(&self) {
        self.state.lock().crash();
    }

    /// The process dies and the machine does not: what was written stays in its cache, synced or not.
    pub(crate) fn kill(&self) {
        self.state.lock().kill();
    }

    /// After this many more changes (writes, syncs, names) every call fails as if the power were gone, until the crash.
    pub(crate) fn cut_power_after(&self, changes: u64) {
        self.state.lock().changes_left = Some(changes);
    }

    /// Syncs say `Ok` and do nothing: the disk that a durability test must catch.
    pub(crate) fn lie_about_syncs(&self) {
        self.state.lock().lies = true;
    }

    /// The next sync of a directory fails and does nothing, or that of a file fails with `EIO`, loses part of what it was to write, and later syncs say nothing of it.
    pub(crate) fn fail_next_sync(&self) {
        self.fail_sync_after(0);
    }

    /// As [`FaultyFiles::fail_next_sync`], for the sync after this many good ones.
    pub(crate) fn fail_sync_after(&self, good: u64) {
        self.state.lock().good_syncs_left = Some(good);
    }

    /// Writes that would take more than this many further bytes fail with `ENOSPC`.
    pub(crate) fn leave_room(&self, bytes: u64) {
        self.state.lock().room = bytes;
    }

    /// Flips one bit, durably and behind everybody's back.
    pub(crate) fn flip_bit(&self, path: &Path, offset: u64, bit: u8) {
        self.edit(path, |bytes| bytes[offset as usize] ^= 1 << (bit % 8));
    }

    /// Changes the bytes of a file, durably and behind everybody's back.
    pub(crate) fn edit(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state.lock();
        let inode = state.inode_at(path).expect("a test edits a file that is there");
        change(&mut inode.bytes);
        inode.durable = inode.bytes.clone();
        inode.unsynced.clear();
    }

    /// The bytes of a file as a reader sees them now.
    pub(crate) fn bytes(&self, path: &Path) -> Vec<u8> {
        self.state.lock().inode_at(path).expect("a test reads a file that is there").bytes.clone()
    }
}

impl Files for FaultyFiles {
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state.lock();
        state.power()?;
        let number = if mode == Mode::CreateNew { state.create(path)? } else { state.file_number(path)? };
        Ok(Box::new(file::FakeFile::new(self.state.clone(), number, state.epoch, mode)))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.change()?;
        state.require_parent(path)?;
        if state.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.change_names(NameChange::Add { path: path.to_owned(), node: Node::Directory });
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.state.lock();
        state.power()?;
        state.require_directory(dir)?;
        let beneath = state.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(beneath.filter_map(|path| path.file_name()).map(|name| name.to_string_lossy().into_owned()).collect())
    }

    fn mode(&self, path: &Path) -> io::Result<u32> {
        let state = self.state.lock();
        match state.names.get(path) {
            Some(Node::Directory) => Ok(0o700),
            Some(Node::File(_)) => Ok(0o600),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.change()?;
        let node = Node::File(state.file_number(from)?);
        assert_eq!(from.parent(), to.parent(), "the fake knows renames within one directory only");
        state.change_names(NameChange::Rename { from: from.to_owned(), to: to.to_owned(), node });
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.change()?;
        state.file_number(path)?;
        state.change_names(NameChange::Remove { path: path.to_owned() });
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.change()?;
        state.require_directory(dir)?;
        if state.sync_fails() {
            return Err(io::Error::other("input/output error"));
        }
        state.sync_names(dir);
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        let mut state = self.state.lock();
        state.power()?;
        if !state.names.contains_key(path) {
            state.create(path)?;
        }
        if !state.locks.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(FakeLock { state: self.state.clone(), path: path.to_owned(), epoch: state.epoch }))
    }

    fn free_space(&self, dir: &Path) -> io::Result<u64> {
        let state = self.state.lock();
        state.require_directory(dir)?;
        Ok(state.room)
    }
}

// === impl FakeLock ===

impl Lock for FakeLock {}

impl Drop for FakeLock {
    fn drop(&mut self) {
        let mut state = self.state.lock();
        if state.epoch == self.epoch {
            state.locks.remove(&self.path);
        }
    }
}
