//! Network namespaces: made, kept by a bind mount, entered, removed.

use crate::{Error, Result};
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, setns, unshare},
};
use std::{
    fs::{self, File},
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
    path::{Path, PathBuf},
};

/// Where named namespaces lie, as for iproute2.
pub const NETNS_DIR: &str = "/run/netns";

/// An open network namespace. It lives as long as the handle, its mount or a process in it.
#[derive(Debug)]
pub struct Namespace {
    file: File,
    path: PathBuf,
}

impl Namespace {
    /// Makes a namespace and mounts it at `/run/netns/NAME`. The loopback link is still down.
    ///
    /// # Errors
    /// [`Error::Namespace`] when the name is taken (`is_exists`) or the kernel refuses.
    pub fn create(name: &str) -> Result<Self> {
        let path = Path::new(NETNS_DIR).join(name);
        let failed = |source: io::Error| Error::Namespace { operation: "create", path: path.clone(), source };
        fs::create_dir_all(NETNS_DIR).map_err(failed)?;
        File::options().write(true).create_new(true).open(&path).map_err(failed)?;
        // A thread of its own changes namespace and ends; the mount keeps what it made.
        let made = on_thread(|| -> io::Result<()> {
            unshare(CloneFlags::CLONE_NEWNET)?;
            mount(Some("/proc/thread-self/ns/net"), &path, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
            Ok(())
        });
        if let Err(source) = made {
            // The error of the creation matters more than that of the clean-up.
            let _ = fs::remove_file(&path);
            return Err(failed(source));
        }
        Self::open_path(&path)
    }

    /// Opens `/run/netns/NAME`.
    ///
    /// # Errors
    /// [`Error::Namespace`] when it is not there.
    pub fn open(name: &str) -> Result<Self> {
        Self::open_path(&Path::new(NETNS_DIR).join(name))
    }

    /// Opens a namespace by its path, such as `/proc/PID/ns/net`.
    ///
    /// # Errors
    /// [`Error::Namespace`] when it cannot be opened.
    pub fn open_path(path: &Path) -> Result<Self> {
        let file =
            File::open(path).map_err(|source| Error::Namespace { operation: "open", path: path.to_owned(), source })?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// That of the calling thread.
    ///
    /// # Errors
    /// [`Error::Namespace`] when it cannot be opened.
    pub fn current() -> Result<Self> {
        Self::open_path(Path::new("/proc/thread-self/ns/net"))
    }

    /// Unmounts `/run/netns/NAME`; true when it was there.
    ///
    /// # Errors
    /// [`Error::Namespace`] when it cannot be removed.
    pub fn delete_if_exists(name: &str) -> Result<bool> {
        let path = Path::new(NETNS_DIR).join(name);
        let failed = |source: io::Error| Error::Namespace { operation: "delete", path: path.clone(), source };
        match umount2(&path, MntFlags::MNT_DETACH) {
            // EINVAL: the file is there, but nothing is mounted on it.
            Ok(()) | Err(nix::Error::EINVAL | nix::Error::ENOENT) => {}
            Err(errno) => return Err(failed(errno.into())),
        }
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(failed(error)),
        }
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `work` inside, on a thread of its own, and waits for it. Sockets opened by `work` stay
    /// in this namespace wherever they go afterwards.
    ///
    /// # Errors
    /// [`Error::Namespace`] when it cannot be entered.
    ///
    /// # Panics
    /// When `work` does.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        on_thread(|| {
            setns(self.file.as_fd(), CloneFlags::CLONE_NEWNET).map_err(|errno| Error::Namespace {
                operation: "enter",
                path: self.path.clone(),
                source: errno.into(),
            })?;
            Ok(work())
        })
    }
}

impl AsRawFd for Namespace {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn on_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| match scope.spawn(work).join() {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}
