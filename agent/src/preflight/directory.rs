//! Directories: ours alone, writable, with room, and of this cluster.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, access};
use serde::{Deserialize, Serialize};

/// Less is not worth starting with: addresses in use, endpoints and a small snapshot take as much.
const MIN_FREE: u64 = 1 << 20;

/// A killed agent lets go only when the last of its threads is gone; whoever starts it again may be faster.
const LINGER: Duration = Duration::from_secs(1);

/// Whose data lies in a directory.
const OWNER: &str = "owner.json";

/// Directories that no other agent gets while this lives.
#[derive(Debug)]
pub(crate) struct Held {
    locks: Vec<Flock<File>>,
}

/// The cluster whose data it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Owner {
    #[serde(rename = "cluster-name")]
    pub(super) cluster: String,
    #[serde(rename = "cluster-id")]
    pub(super) id: u32,
}

/// Whether a directory can be used, made or not; changes nothing.
pub(super) fn check(option: &str, path: &Path, owner: &Owner) -> Result<()> {
    let at = path.display();
    ensure!(path.is_absolute(), "{option} {at} is not absolute: it would depend on where the agent is started");
    let mut there = path;
    let metadata = loop {
        match fs::metadata(there) {
            Ok(metadata) => break metadata,
            Err(error) if error.kind() == ErrorKind::NotFound => there = there.parent().unwrap_or(Path::new("/")),
            Err(error) if error.kind() == ErrorKind::NotADirectory => there = there.parent().unwrap_or(Path::new("/")),
            Err(error) => return Err(error).with_context(|| format!("{option} {at}: look at {}", there.display())),
        }
    };
    ensure!(metadata.is_dir(), "{option} {at}: {} is not a directory", there.display());
    if let Some(running) = holder(there).filter(|_| there == path) {
        bail!("{option} {at} is in use by another agent ({running}): stop it, or give each its own directories");
    }
    access(there, AccessFlags::W_OK | AccessFlags::X_OK).with_context(|| {
        format!("{option} {at}: {} is not writable for uid {}", there.display(), nix::unistd::geteuid())
    })?;
    let space = statvfs(there).with_context(|| format!("{option} {at}: look for free space"))?;
    let free = space.blocks_available() * space.fragment_size();
    ensure!(
        free >= MIN_FREE,
        "{option} {at}: {free} bytes are free on {}, and an agent needs at least {MIN_FREE}: make room",
        there.display()
    );
    match read_owner(path)? {
        Some(found) if found != *owner => bail!(
            "{option} {at} belongs to cluster {} (id {}), and this is {} (id {}): give another directory, or remove this \
             one to start afresh",
            found.cluster,
            found.id,
            owner.cluster,
            owner.id
        ),
        _ => Ok(()),
    }
}

/// Whether no agent has a directory, for one that another part makes.
pub(super) fn not_held(option: &str, path: &Path) -> Result<()> {
    match holder(path) {
        None => Ok(()),
        Some(running) => {
            bail!("{option} {} is in use by another agent ({running}): stop it, or give each its own", path.display())
        }
    }
}

/// Whether an agent answers at the socket.
pub(super) fn not_running(socket: &Path) -> Result<()> {
    let Some(stream) = linger(|| UnixStream::connect(socket).ok()) else { return Ok(()) };
    let peer = nix::sys::socket::getsockopt(&stream, nix::sys::socket::sockopt::PeerCredentials);
    let pid = peer.map_or_else(|_| "unknown".to_owned(), |peer| peer.pid().to_string());
    bail!(
        "--socket-path {} is in use by another agent (pid {pid}): stop it, or give each its own socket",
        socket.display()
    )
}

impl Held {
    /// Takes a directory that has been made meanwhile.
    pub(crate) fn take(&mut self, option: &str, path: &Path) -> Result<()> {
        let file = File::open(path).with_context(|| format!("{option}: open {}", path.display()))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => self.locks.push(lock),
            Err(_) => not_held(option, path)?,
        }
        Ok(())
    }
}

/// Makes the directories, takes them and writes whose they are.
pub(super) fn take(places: &[(&str, &PathBuf)], owner: &Owner) -> Result<Held> {
    let mut locks = Vec::new();
    for (option, path) in places {
        let at = path.display();
        fs::create_dir_all(path).with_context(|| format!("{option}: make {at}"))?;
        let file = File::open(path).with_context(|| format!("{option}: open {at}"))?;
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| {
            let running = holder(path).unwrap_or_else(|| errno.to_string());
            anyhow::anyhow!("{option} {at} is in use by another agent ({running}): stop it, or give each its own")
        });
        // Both options may name one directory.
        match lock {
            Ok(lock) => locks.push(lock),
            Err(_) if holder(path) == Some(format!("pid {}", std::process::id())) => {}
            Err(error) => return Err(error),
        }
        if read_owner(path)?.is_none() {
            let temporary = path.join(format!(".{OWNER}"));
            let write = || -> std::io::Result<()> {
                let mut file = File::create(&temporary)?;
                file.write_all(&serde_json::to_vec(owner)?)?;
                file.sync_all()?;
                fs::rename(&temporary, path.join(OWNER))
            };
            write().with_context(|| format!("{option}: write {}", path.join(OWNER).display()))?;
        }
    }
    Ok(Held { locks })
}

fn read_owner(path: &Path) -> Result<Option<Owner>> {
    let file = path.join(OWNER);
    match fs::read(&file) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).with_context(|| {
            format!(
                "{} does not say whose directory it is: remove it if the directory is this cluster's",
                file.display()
            )
        }),
        Err(error) if [ErrorKind::NotFound, ErrorKind::NotADirectory].contains(&error.kind()) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("read {}", file.display())),
    }
}

/// Who has a directory locked and does not let go within a moment.
fn holder(path: &Path) -> Option<String> {
    linger(|| lock_of(path))
}

/// What is found and is still found after [`LINGER`].
fn linger<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let until = Instant::now() + LINGER;
    loop {
        let found = look()?;
        if Instant::now() >= until {
            return Some(found);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Who has a directory locked, from the kernel's own list.
fn lock_of(path: &Path) -> Option<String> {
    let metadata = fs::metadata(path).ok()?;
    let (device, inode) = (metadata.dev(), metadata.ino());
    let wanted = format!("{:02x}:{:02x}:{inode}", nix::sys::stat::major(device), nix::sys::stat::minor(device));
    let locks = fs::read_to_string("/proc/locks").ok()?;
    locks.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let held = fields.contains(&wanted.as_str()) && fields.contains(&"FLOCK") && !fields.contains(&"->");
        held.then(|| format!("pid {}", fields.get(4).copied().unwrap_or("unknown")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(id: u32) -> Owner {
        Owner { cluster: "east".to_owned(), id }
    }

    #[test]
    fn a_directory_is_taken_once_and_by_one_cluster() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        let check = |path: &Path, id: u32| check("--state-dir", path, &owner(id)).map_err(|error| format!("{error:#}"));
        check(&path, 1).unwrap();
        assert!(!folder.path().join("a").exists(), "a check makes nothing");
        let held = take(&[("--state-dir", &path), ("--lib-dir", &path)], &owner(1)).unwrap();
        let error = check(&path, 1).unwrap_err();
        assert!(error.contains(&format!("another agent (pid {})", std::process::id())), "{error}");
        drop(held);
        check(&path, 1).unwrap();
        let error = check(&path, 2).unwrap_err();
        assert!(error.contains("belongs to cluster east (id 1), and this is east (id 2)"), "{error}");
        fs::write(path.join(OWNER), "{").unwrap();
        assert!(check(&path, 1).unwrap_err().contains("owner.json does not say"));
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(check(&file, 1).unwrap_err().contains("is not a directory"));
        assert!(check(&file.join("below"), 1).unwrap_err().contains("file is not a directory"));
        assert!(check(Path::new("state"), 1).unwrap_err().contains("not absolute"));
    }
}
