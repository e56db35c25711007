//! One open file of the fake.

use std::io;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use super::state::{Inode, State};
use crate::disk::files::{DiskFile, Mode, SECTOR};

/// A handle; a crash kills it.
#[derive(Debug)]
pub(super) struct FakeFile {
    state: Arc<Mutex<State>>,
    number: u64,
    epoch: u64,
    mode: Mode,
}

// === impl FakeFile ===

impl FakeFile {
    pub(super) fn new(state: Arc<Mutex<State>>, number: u64, epoch: u64, mode: Mode) -> Self {
        Self { state, number, epoch, mode }
    }

    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.state.lock();
        state.power()?;
        if state.epoch == self.epoch { Ok(state) } else { Err(io::Error::other("opened before the crash")) }
    }

    /// Applies `edit` to the bytes, after which the file is at most `len` bytes long and `sectors` are unsynced.
    fn change(
        &mut self,
        len: usize,
        sectors: std::ops::Range<usize>,
        edit: impl FnOnce(&mut Vec<u8>),
    ) -> io::Result<()> {
        if self.mode == Mode::Read {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let mut state = self.state()?;
        state.change()?;
        let room = state.room;
        let inode = inode_of(&mut state, self.number);
        let grows = len.saturating_sub(inode.bytes.len()) as u64;
        if grows > room {
            return Err(io::ErrorKind::StorageFull.into());
        }
        inode.unsynced.extend(sectors);
        edit(&mut inode.bytes);
        state.room -= grows;
        Ok(())
    }
}

/// A file that lost its last name lives on while it is open.
fn inode_of(state: &mut State, number: u64) -> &mut Inode {
    state.inodes.entry(number).or_default()
}

impl DiskFile for FakeFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.state()?;
        let bytes = &inode_of(&mut state, self.number).bytes;
        let start = (offset as usize).min(bytes.len());
        let count = buffer.len().min(bytes.len() - start);
        buffer[..count].copy_from_slice(&bytes[start..start + count]);
        Ok(count)
    }

    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let start = offset as usize;
        let end = start + bytes.len();
        self.change(end, start / SECTOR..end.div_ceil(SECTOR), |file| {
            if file.len() < end {
                file.resize(end, 0);
            }
            file[start..end].copy_from_slice(bytes);
        })
    }

    fn zero_fill(&mut self, len: u64) -> io::Result<()> {
        let len = len as usize;
        self.change(len, 0..len.div_ceil(SECTOR), |file| *file = vec![0; len])
    }

    fn sync_data(&mut self) -> io::Result<()> {
        let mut state = self.state()?;
        state.change()?;
        state.sync_inode(self.number)
    }

    fn len(&self) -> io::Result<u64> {
        let mut state = self.state()?;
        Ok(inode_of(&mut state, self.number).bytes.len() as u64)
    }
}
