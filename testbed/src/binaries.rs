//! The programs under test.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// The programs under test.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Binaries {
    /// `causeway`.
    pub causeway: PathBuf,
    /// `causeway-cni`.
    pub cni: PathBuf,
}

impl Binaries {
    /// The binaries beside the one that runs.
    ///
    /// # Errors
    ///
    /// When they were not built.
    pub fn beside_us() -> Result<Self> {
        let own = std::env::current_exe().context("find our own binary")?;
        // A test binary lies one folder deeper.
        let folders = own.ancestors().skip(1).take(2);
        let found = folders.map(|folder| (folder.join("causeway"), folder.join("causeway-cni")));
        let found = found.into_iter().find(|(causeway, cni)| causeway.exists() && cni.exists());
        let (causeway, cni) =
            found.with_context(|| format!("no causeway and causeway-cni beside {}: build them", own.display()))?;
        Ok(Self { causeway, cni })
    }
}
