//! Snapshots on a schedule: written beside each other under the time they were taken, checked before they count, and
//! the oldest removed.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::mpsc::{self, RecvTimeoutError},
    thread::JoinHandle,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::{driver::Handle, snapshot};

/// Parts on their way to the file.
const PARTS: usize = 64;
const PREFIX: &str = "snapshot-";
const SUFFIX: &str = ".db";

/// Where, how often, and how many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backups {
    pub dir: PathBuf,
    pub every: Duration,
    /// The newest so many are kept.
    pub keep: usize,
}

/// Runs until it is dropped.
pub(crate) struct Schedule {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

// === impl Schedule ===

impl Schedule {
    /// # Errors
    /// When the directory cannot be made, or the system has no more threads.
    pub(crate) fn start(backups: Backups, handle: Handle) -> std::io::Result<Self> {
        fs::create_dir_all(&backups.dir)?;
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::Builder::new().name("store-backups".to_owned()).spawn(move || {
            while stopped.recv_timeout(backups.every) == Err(RecvTimeoutError::Timeout) {
                match backups.take(&handle) {
                    Ok(path) => tracing::info!(path = %path.display(), "a snapshot was saved"),
                    // The next may fare better; the older ones are kept for as long as none does.
                    Err(error) => tracing::error!(error, dir = %backups.dir.display(), "no snapshot could be saved"),
                }
            }
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Schedule {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // One that panicked has ended, too.
            drop(thread.join());
        }
    }
}

// === impl Backups ===

impl Backups {
    fn take(&self, handle: &Handle) -> Result<PathBuf, String> {
        let part = self.dir.join("snapshot.part");
        let shown = |error: std::io::Error| format!("{}: {error}", part.display());
        let (sender, mut parts) = tokio::sync::mpsc::channel(PARTS);
        handle.snapshot(sender);
        let mut file = fs::File::create(&part).map_err(shown)?;
        while let Some(piece) = parts.blocking_recv() {
            let (bytes, _) = piece.map_err(|failure| failure.to_string())?;
            file.write_all(&bytes).map_err(shown)?;
        }
        file.sync_all().map_err(shown)?;
        let summary = snapshot::summary(&part).map_err(|error| error.to_string())?;
        let taken = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let path = self.dir.join(format!("{PREFIX}{taken:014}-{}{SUFFIX}", summary.revision));
        fs::rename(&part, &path).map_err(shown)?;
        fs::File::open(&self.dir).and_then(|dir| dir.sync_all()).map_err(shown)?;
        self.prune().map_err(shown)?;
        Ok(path)
    }

    /// Names begin with the time, so their order is that of the snapshots.
    fn prune(&self) -> std::io::Result<()> {
        let mut names = saved(&self.dir)?;
        names.sort_unstable();
        let surplus = names.len().saturating_sub(self.keep.max(1));
        names[..surplus].iter().try_for_each(fs::remove_file)
    }
}

/// Nothing else in the directory is ours.
fn saved(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(SUFFIX)) {
            found.push(entry.path());
        }
    }
    Ok(found)
}
