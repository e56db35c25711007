//! How little memory a server can live with: a memory cgroup whose limit is lowered until the kernel finds nothing more
//! to take back. What is mapped from files can go; what is anonymous cannot.

use std::path::PathBuf;

use anyhow::{Context, Result};

/// Where this kernel has the memory controller (version 1, beside version 2).
const CONTROLLER: &str = "/sys/fs/cgroup/memory";
/// Of the limit, each step.
const STEP: f64 = 0.98;

/// Removed when dropped, which must be after what runs in it.
pub(crate) struct Cgroup(PathBuf);

// === impl Cgroup ===

impl Cgroup {
    /// `None` where there is no such controller, or no right to use it.
    pub(crate) fn create() -> Option<Self> {
        let path = PathBuf::from(CONTROLLER).join(format!("causeway-bench-{}", std::process::id()));
        std::fs::create_dir(&path).ok()?;
        path.join("memory.usage_in_bytes").exists().then_some(Self(path))
    }

    /// The file that a process which is to live here writes its number to.
    pub(crate) fn members(&self) -> PathBuf {
        self.0.join("cgroup.procs")
    }

    /// Megabytes that are left when no more can be taken.
    pub(crate) fn squeeze(&self) -> Result<f64> {
        let limit = self.0.join("memory.limit_in_bytes");
        let mut bytes = self.usage()?;
        // The kernel refuses a limit that it cannot get below.
        while std::fs::write(&limit, format!("{}", bytes as u64)).is_ok() {
            bytes = self.usage()?.min(bytes) * STEP;
        }
        let left = self.usage()?;
        std::fs::write(&limit, "-1").context("lift the limit")?;
        Ok(left / 1e6)
    }

    fn usage(&self) -> Result<f64> {
        let path = self.0.join("memory.usage_in_bytes");
        let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        text.trim().parse().context("memory is a number of bytes")
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Whoever runs next chooses another name.
        let _ = std::fs::remove_dir(&self.0);
    }
}
