//! Everything that a run makes, on disk before it is made, so that it can be taken down after any end of the run.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use netlink::Namespace;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// What a run has made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// The run.
    pub run_id: String,
    /// Network namespaces by name.
    pub namespaces: Vec<String>,
    /// The process that made the run, pid and start time.
    pub owner: (i32, u64),
    /// Processes: pid and the start time that the kernel gives it, so that a reused pid is left alone.
    pub processes: Vec<(i32, u64)>,
    /// Directories of pins.
    pub pins: Vec<PathBuf>,
    /// Mounts made for the run.
    pub mounts: Vec<PathBuf>,
    #[serde(skip)]
    file: PathBuf,
}

/// What was found and removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// Processes that were still there.
    pub processes: usize,
    /// Namespaces.
    pub namespaces: usize,
    /// Entries of bpffs.
    pub pins: usize,
}

// === impl Ledger ===

impl Ledger {
    /// An empty ledger of a run, at `file`.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn create(run_id: &str, file: &Path) -> Result<Self> {
        let own = i32::try_from(std::process::id()).context("a pid fits")?;
        let owner = (own, start_time(own).unwrap_or_default());
        let ledger = Self { run_id: run_id.to_owned(), owner, file: file.to_owned(), ..Self::default() };
        ledger.save()?;
        Ok(ledger)
    }

    /// The ledger at `file`; `None` when there is none.
    ///
    /// # Errors
    ///
    /// When the file is there and is no ledger.
    pub fn open(file: &Path) -> Result<Option<Self>> {
        let bytes = match fs::read(file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            bytes => bytes.with_context(|| format!("read {}", file.display()))?,
        };
        let mut ledger: Self =
            serde_json::from_slice(&bytes).with_context(|| format!("{} is no ledger of a run", file.display()))?;
        ledger.file = file.to_owned();
        Ok(Some(ledger))
    }

    /// Whether the process that made the run is still at it.
    pub fn owner_runs(&self) -> bool {
        start_time(self.owner.0) == Some(self.owner.1)
    }

    /// Notes a namespace that is about to be made.
    pub(crate) fn namespace(&mut self, name: &str) -> Result<()> {
        self.namespaces.push(name.to_owned());
        self.save()
    }

    /// Notes a directory of pins that is about to be made.
    pub(crate) fn pins(&mut self, path: &Path) -> Result<()> {
        self.pins.push(path.to_owned());
        self.save()
    }

    /// Mounts bpffs where agents pin, unless it is there: what an agent mounted would outlive the run.
    pub(crate) fn ensure_bpffs(&mut self, path: &Path) -> Result<()> {
        let mounts = fs::read_to_string("/proc/mounts").context("list mounts")?;
        let there = |line: &str| line.split(' ').nth(1).is_some_and(|mounted| Path::new(mounted) == path);
        if mounts.lines().any(there) {
            return Ok(());
        }
        self.mounts.push(path.to_owned());
        self.save()?;
        mount(Some("bpf"), path, Some("bpf"), MsFlags::empty(), None::<&str>)
            .with_context(|| format!("mount bpffs at {}", path.display()))
    }

    /// Notes a process that was just started; when the kernel says it started.
    pub(crate) fn process(&mut self, pid: i32) -> Result<u64> {
        let start = start_time(pid).with_context(|| format!("process {pid} ended at once"))?;
        self.processes.push((pid, start));
        self.save()?;
        Ok(start)
    }

    /// What others have noted since: a ledger is shared with whoever works on a kept run.
    pub(crate) fn reread(&mut self) -> Result<()> {
        if let Some(fresh) = Self::open(&self.file)? {
            *self = fresh;
        }
        Ok(())
    }

    fn save(&self) -> Result<()> {
        if let Some(folder) = self.file.parent() {
            fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        }
        let temporary = self.file.with_extension("tmp");
        fs::write(&temporary, serde_json::to_vec_pretty(self)?)
            .and_then(|()| fs::rename(&temporary, &self.file))
            .with_context(|| format!("write {}", self.file.display()))
    }
}

/// Removes everything in the ledger, and then the ledger. What is gone already is as wanted.
///
/// # Errors
///
/// When something cannot be removed; the ledger then stays, and a repetition goes on.
pub fn take_down(ledger: &Ledger) -> Result<Leftovers> {
    let mut found = Leftovers::default();
    let alive = |(pid, start): &(i32, u64)| start_time(*pid) == Some(*start);
    let mut running: Vec<_> = ledger.processes.iter().copied().filter(alive).collect();
    found.processes = running.len();
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        for (pid, _) in &running {
            // It may have ended between the look and the signal.
            kill(Pid::from_raw(*pid), signal).ok();
        }
        let deadline = Instant::now() + Duration::from_secs(5);
        while !running.is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
            reap();
            running.retain(alive);
        }
    }
    for namespace in &ledger.namespaces {
        found.namespaces += usize::from(Namespace::delete_if_exists(namespace)?);
    }
    for pins in &ledger.pins {
        found.pins += remove_tree(pins)?;
    }
    for mounted in &ledger.mounts {
        match umount2(mounted, MntFlags::MNT_DETACH) {
            Ok(()) | Err(nix::Error::EINVAL | nix::Error::ENOENT) => {}
            Err(error) => return Err(error).with_context(|| format!("unmount {}", mounted.display())),
        }
    }
    match fs::remove_file(&ledger.file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", ledger.file.display()))
        }
        _ => Ok(found),
    }
}

/// Removes a tree of pins, deepest first; how many entries there were.
fn remove_tree(path: &Path) -> Result<usize> {
    let mut count = 0;
    if path.is_dir() {
        for entry in fs::read_dir(path).with_context(|| format!("list {}", path.display()))? {
            count += remove_tree(&entry?.path())?;
        }
        fs::remove_dir(path).with_context(|| format!("remove {}", path.display()))?;
    } else if path.exists() {
        fs::remove_file(path).with_context(|| format!("remove {}", path.display()))?;
    } else {
        return Ok(0);
    }
    Ok(count + 1)
}

/// Collects children of ours that have ended, so that they do not count as alive.
fn reap() {
    use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        if status == WaitStatus::StillAlive {
            break;
        }
    }
}

/// Field 22 of /proc/PID/stat: when the process started; `None` when it is gone or a zombie.
pub(crate) fn start_time(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    if *fields.first()? == "Z" {
        return None;
    }
    fields.get(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ledger_survives_its_writer_and_a_reused_pid_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ledger.json");
        let mut ledger = Ledger::create("abcd", &file).unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        ledger.process(own).unwrap();
        assert_eq!(Ledger::open(&file).unwrap().as_ref(), Some(&ledger));
        ledger.processes[0].1 += 1;
        assert_eq!(take_down(&ledger).unwrap(), Leftovers::default(), "this test would be dead");
        assert_eq!(Ledger::open(&file).unwrap(), None);
    }
}
