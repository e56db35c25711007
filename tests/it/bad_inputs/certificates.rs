//! Certificates with one fault each, made for this run.

use std::path::Path;

use anyhow::Result;

pub(crate) fn make(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    Ok(())
}
