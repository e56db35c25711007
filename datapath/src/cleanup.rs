//! Takes away what outlives the agent: pins, and with them programs and maps, and devices.

use crate::{
    Error,
    pins::{self, HOST_DEVICE, VXLAN_DEVICE},
};
use netlink::Netlink;
use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// What was there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cleaned {
    pub links: usize,
    pub maps: usize,
    pub devices: Vec<&'static str>,
    /// A bpffs of our own was unmounted.
    pub unmounted: bool,
}

/// Removes everything of the datapath pinned below `bpf_root`, and the devices of the calling
/// thread's network namespace with their routes. What is not there is as wanted.
///
/// # Errors
/// [`Error::Remove`] and [`Error::RemoveDevice`]; the rest may still be there.
pub fn cleanup(bpf_root: &Path) -> Result<Cleaned, Error> {
    let failed = |path: PathBuf| move |source| Error::Remove { path, source };
    let mut cleaned = Cleaned::default();
    for (_, path) in pins::pinned_links(bpf_root).map_err(failed(pins::links(bpf_root)))? {
        pins::remove_link(&path).map_err(failed(path))?;
        cleaned.links += 1;
    }
    // By directory, not by name: pins of other versions go too.
    for path in entries(&pins::maps(bpf_root)).map_err(failed(pins::maps(bpf_root)))? {
        fs::remove_file(&path).map_err(failed(path))?;
        cleaned.maps += 1;
    }
    for dir in [pins::maps(bpf_root), pins::links(bpf_root)] {
        remove_dir(&dir).map_err(failed(dir))?;
    }
    cleaned.unmounted = release(bpf_root).map_err(failed(bpf_root.to_owned()))?;
    let mut nl = Netlink::open().map_err(|source| Error::RemoveDevice { device: HOST_DEVICE, source })?;
    for device in [VXLAN_DEVICE, HOST_DEVICE] {
        if nl.delete_link_if_exists(device).map_err(|source| Error::RemoveDevice { device, source })? {
            cleaned.devices.push(device);
        }
    }
    Ok(cleaned)
}

fn entries(dir: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(dir) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Removes the root; where it is a mount of our own making, outside `/sys/fs/bpf`, that goes first.
fn release(root: &Path) -> io::Result<bool> {
    let Ok(here) = fs::metadata(root) else { return Ok(false) };
    let above = root.parent().map(fs::metadata).transpose()?;
    let mounted = above.is_some_and(|above| above.dev() != here.dev()) && !root.starts_with("/sys/fs/bpf");
    if mounted {
        nix::mount::umount2(root, nix::mount::MntFlags::MNT_DETACH)?;
    }
    remove_dir(root)?;
    Ok(mounted)
}

fn remove_dir(dir: &Path) -> io::Result<()> {
    match fs::remove_dir(dir) {
        // Others may keep pins of their own there.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) => Ok(()),
        // A mount point that is not ours to remove.
        Err(error) if error.raw_os_error() == Some(libc::EBUSY) => Ok(()),
        other => other,
    }
}
