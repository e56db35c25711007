//! The segment that takes batches.

use std::path::{Path, PathBuf};

use super::housekeeping::Housekeeping;
use super::segment::{Header, SegmentName};
use crate::disk::DiskError;
use crate::disk::files::{DiskFile, SECTOR, SharedFiles};

/// The segment that takes batches.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) file: Box<dyn DiskFile>,
    pub(super) path: PathBuf,
    pub(super) header: Header,
    /// Where the next batch goes.
    pub(super) end: u64,
    pub(super) last_index: u64,
}

// === impl Active ===

impl Active {
    /// Turns a file of zeros into the segment of `header`. Its name is durable before anything is written behind the
    /// header.
    pub(super) fn begin(
        files: &SharedFiles,
        dir: &Path,
        house: &mut Housekeeping,
        header: Header,
    ) -> Result<Self, DiskError> {
        let (mut file, from) = house.take(header.capacity)?;
        file.write_at(&header.encode(), 0).map_err(DiskError::io("write", &from))?;
        file.sync_data().map_err(DiskError::io("sync", &from))?;
        let path = dir.join(SegmentName { sequence: header.sequence }.to_string());
        files.rename(&from, &path).map_err(DiskError::io("rename", &from))?;
        files.sync_dir(dir).map_err(DiskError::io("sync", dir))?;
        Ok(Self { file, path, header, end: SECTOR as u64, last_index: 0 })
    }
}
