//! The file system that pins live in.

use nix::{
    mount::{MsFlags, mount},
    sys::statfs::statfs,
};
use std::{fs, io, path::Path};

/// `BPF_FS_MAGIC`.
const BPF_FS: i64 = 0xcafe_4a11;
/// Where Linux expects it.
const DEFAULT: &str = "/sys/fs/bpf";

/// Makes sure that `dir` exists and lies on a bpffs, mounting one where there is none: at
/// `/sys/fs/bpf` for directories below it, else at `dir` itself.
pub(crate) fn ensure_bpffs(dir: &Path) -> io::Result<()> {
    let default = Path::new(DEFAULT);
    let point = if dir.starts_with(default) { default } else { dir };
    fs::create_dir_all(point)?;
    if !is_bpffs(point)? {
        mount(Some("bpffs"), point, Some("bpf"), MsFlags::empty(), None::<&str>)?;
    }
    fs::create_dir_all(dir)?;
    if is_bpffs(dir)? { Ok(()) } else { Err(io::Error::other(format!("{} is on no bpffs", dir.display()))) }
}

/// Why no pins can be made at `dir`; changes nothing. A bpffs would be mounted where `may_mount`.
pub(crate) fn fault(dir: &Path, may_mount: bool) -> Option<String> {
    let mut there = dir;
    let metadata = loop {
        match fs::metadata(there) {
            Ok(metadata) => break metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => there = there.parent()?,
            Err(error) => return Some(format!("{}: {error}", there.display())),
        }
    };
    let at = there.display();
    if !metadata.is_dir() {
        return Some(format!("--bpf-root: {at} is not a directory"));
    }
    if is_bpffs(there).is_ok_and(|is| is) {
        return None;
    }
    let default = Path::new(DEFAULT);
    let point = if dir.starts_with(default) { default } else { dir };
    if !may_mount {
        return Some(format!("none is mounted at {}, and mounting one needs CAP_SYS_ADMIN", point.display()));
    }
    // A mount would hide what is there.
    let used = fs::read_dir(point).is_ok_and(|mut entries| entries.next().is_some());
    used.then(|| {
        format!("--bpf-root: {} is on no bpffs and not empty: choose a place below {DEFAULT}", point.display())
    })
}

fn is_bpffs(path: &Path) -> io::Result<bool> {
    Ok(statfs(path)?.filesystem_type().0 as i64 == BPF_FS)
}
