//! The file system of the machine.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::fcntl::{FallocateFlags, fallocate};

use super::{DiskFile, Files, Lock, Mode};

/// Zeros are written and synced in pieces of this size: somebody else's sync never waits behind more of them.
const ZERO_PIECE: u64 = 4 * 1024 * 1024;
/// Zeros are written by the page. The kernel keeps what one call writes in folios as large as the call, and walks all of a
/// folio for each of the small writes that follow: in folios of 2 MiB a put's write and sync cost 30 to 60 us more.
const ZERO_PAGE: usize = 4096;

/// The file system of the machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RealFiles;

/// A `flock`: it goes with the process, however that ends.
#[derive(Debug)]
struct RealLock {
    _file: File,
}

// === impl RealFiles ===

impl Files for RealFiles {
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(mode != Mode::Read).create_new(mode == Mode::CreateNew).mode(0o600);
        Ok(Box::new(options.open(path)?))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = std::fs::read_dir(dir)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<io::Result<Vec<_>>>()?;
        names.sort();
        Ok(names)
    }

    fn mode(&self, path: &Path) -> io::Result<u32> {
        Ok(std::fs::metadata(path)?.mode() & 0o7777)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        // An empty path is the parent of a relative name.
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        File::open(dir)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(RealLock { _file: file })),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

impl DiskFile for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut read = 0;
        while let Some(rest) = buffer.get_mut(read..).filter(|rest| !rest.is_empty()) {
            match FileExt::read_at(self, rest, offset + read as u64) {
                Ok(0) => break,
                Ok(count) => read += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn zero_fill(&mut self, len: u64) -> io::Result<()> {
        let i64_len = i64::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
        // Asks for all the room at once, so that a full disk is told before it is full. Some file systems cannot; the
        // zeros below then take the room.
        match fallocate(self.as_fd(), FallocateFlags::empty(), 0, i64_len) {
            Ok(()) | Err(nix::Error::EOPNOTSUPP | nix::Error::ENOSYS) => {}
            Err(error) => return Err(error.into()),
        }
        // Allocated blocks are still marked unwritten, and the first write of each would change metadata in the middle
        // of a sync that someone waits for.
        let mut offset = 0;
        while offset < len {
            let page = (len - offset).min(ZERO_PAGE as u64);
            self.write_all_at(&[0; ZERO_PAGE][..page as usize], offset)?;
            offset += page;
            if offset == len || offset.is_multiple_of(ZERO_PIECE) {
                File::sync_data(self)?;
            }
        }
        self.set_len(len)
    }

    fn sync_data(&mut self) -> io::Result<()> {
        File::sync_data(self)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

impl Lock for RealLock {}
