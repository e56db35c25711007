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

fn is_bpffs(path: &Path) -> io::Result<bool> {
    Ok(statfs(path)?.filesystem_type().0 as i64 == BPF_FS)
}
