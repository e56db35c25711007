//! A file system for a real process that loses what was not synced.
//!
//! It is mounted with FUSE, lives in the memory of the test, and keeps two versions of everything: as processes see it,
//! and as synced. [`LazyFs::crash`], called once the process under test was killed, throws a seeded die for each sector and
//! each name in which the two differ. Nothing is cached by the kernel, so the next process sees what the crash left.
//!
//! Needs `/dev/fuse` and the right to mount; [`LazyFs::missing`] says what a machine lacks.

#[path = "lazy_state.rs"]
mod state;

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileHandle, Filesystem, FopenFlags, Generation, INodeNo, LockOwner,
    MountOption, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry,
    ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use parking_lot::Mutex;

use state::{Outcome, State};

/// The kernel asks every time: what it remembered would outlive a crash.
const FORGET: Duration = Duration::ZERO;

/// A mounted file system; dropped, it is unmounted.
pub(crate) struct LazyFs {
    state: Arc<Mutex<State>>,
    _session: BackgroundSession,
}

/// What answers the kernel.
struct Answers {
    state: Arc<Mutex<State>>,
}

// === impl LazyFs ===

impl LazyFs {
    /// Why this machine cannot mount one, if it cannot.
    pub(crate) fn missing() -> Option<String> {
        let device = std::fs::OpenOptions::new().read(true).write(true).open("/dev/fuse");
        device.err().map(|error| format!("/dev/fuse cannot be opened: {error}"))
    }

    /// Mounts an empty one over the directory `at`.
    pub(crate) fn mount(at: &Path, seed: u64) -> io::Result<Self> {
        let state = Arc::new(Mutex::new(State::new(seed)));
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("lazy".into()), MountOption::DefaultPermissions];
        let session = fuser::spawn_mount(Answers { state: state.clone() }, at, &config)?;
        Ok(Self { state, _session: session })
    }

    /// The machine loses power. Every process that has files open here must be gone already.
    pub(crate) fn crash(&self) {
        self.state.lock().crash();
    }

    /// From now on syncs say that they worked, and do nothing: what a durability test must catch.
    pub(crate) fn lie_about_syncs(&self) {
        self.state.lock().lies = true;
    }

    /// Syncs so far, of files and directories.
    pub(crate) fn syncs(&self) -> u64 {
        self.state.lock().syncs
    }

    /// Sectors and names that the last crash lost.
    pub(crate) fn lost(&self) -> u64 {
        self.state.lock().lost
    }
}

// === impl Answers ===

impl Answers {
    fn entry(&self, outcome: Outcome<u64>, reply: ReplyEntry) {
        match outcome.and_then(|number| self.state.lock().attributes(number)) {
            Ok(attributes) => reply.entry(&FORGET, &attributes, Generation(0)),
            Err(error) => reply.error(error),
        }
    }
}

fn empty(outcome: Outcome<()>, reply: ReplyEmpty) {
    match outcome {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error),
    }
}

impl Filesystem for Answers {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.state.lock().lookup(parent.0, name);
        self.entry(found, reply);
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.state.lock().attributes(number.0) {
            Ok(attributes) => reply.attr(&FORGET, &attributes),
            Err(error) => reply.error(error),
        }
    }

    fn setattr(
        &self,
        request: &Request,
        number: INodeNo,
        mode: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<std::time::SystemTime>,
        handle: Option<FileHandle>,
        _: Option<std::time::SystemTime>,
        _: Option<std::time::SystemTime>,
        _: Option<std::time::SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        if let Err(error) = self.state.lock().change(number.0, mode, size) {
            return reply.error(error);
        }
        self.getattr(request, number, handle, reply);
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        let made = self.state.lock().create(parent.0, name, mode & !umask, true);
        self.entry(made, reply);
    }

    fn create(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, _: i32, reply: ReplyCreate) {
        let mut state = self.state.lock();
        let made = state.create(parent.0, name, mode & !umask, false);
        match made.and_then(|number| state.attributes(number)) {
            Ok(attributes) => {
                reply.created(&FORGET, &attributes, Generation(0), FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
            }
            Err(error) => reply.error(error),
        }
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(self.state.lock().remove(parent.0, name), reply);
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        _: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if parent != new_parent {
            return reply.error(Errno::EXDEV);
        }
        empty(self.state.lock().rename(parent.0, name, new_name), reply);
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.state.lock().file(number.0) {
            Ok(file) => {
                let start = (offset as usize).min(file.bytes.len());
                let end = (start + size as usize).min(file.bytes.len());
                reply.data(&file.bytes[start..end]);
            }
            Err(error) => reply.error(error),
        }
    }

    fn write(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.state.lock().file(number.0) {
            Ok(file) => {
                file.write(offset as usize, data);
                reply.written(data.len() as u32);
            }
            Err(error) => reply.error(error),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, number: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        empty(self.state.lock().sync_file(number.0), reply);
    }

    fn fsyncdir(&self, _: &Request, number: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        empty(self.state.lock().sync_directory(number.0), reply);
    }

    fn readdir(&self, _: &Request, number: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let entries = match self.state.lock().list(number.0) {
            Ok(entries) => entries,
            Err(error) => return reply.error(error),
        };
        for (at, (number, kind, name)) in entries.into_iter().enumerate().skip(offset as usize) {
            if reply.add(INodeNo(number), at as u64 + 1, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let blocks = 1 << 24;
        reply.statfs(blocks, blocks, blocks, 1 << 20, 1 << 20, 4096, 255, 4096);
    }
}
