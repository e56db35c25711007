//! Reading a snapshot file: all of it is verified before the first frame is given out.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Take};
use std::path::Path;

use super::DIGEST;
use super::hashing::Hashing;
use crate::disk::DiskError;
use crate::disk::files::SECTOR;
#[cfg(test)]
use crate::disk::frames::FrameHeader;
use crate::disk::frames::{FrameReader, HEADER, Kind};

/// What bbolt, the database of etcd, has 16 bytes into a file.
const BBOLT_MAGIC: [u8; 4] = 0xED0C_DAED_u32.to_le_bytes();
const BBOLT_MAGIC_AT: usize = 16;
/// One read of the file.
const BUFFER_BYTES: usize = 1024 * 1024;

/// A snapshot that was verified and is being read.
#[derive(Debug)]
pub(crate) struct SnapshotReader<R> {
    frames: FrameReader<Take<BufReader<R>>>,
    len: u64,
}

// === impl SnapshotReader ===

impl SnapshotReader<File> {
    /// Opens and verifies the file at `path`.
    ///
    /// # Errors
    /// [`DiskError::NotASnapshot`] names the rule that it breaks, [`DiskError::UnknownVersion`] a newer format,
    /// [`DiskError::Damaged`] what its checksum at the end does not cover up for: a file that was written wrong.
    pub(crate) fn open(path: &Path) -> Result<Self, DiskError> {
        let file = File::open(path).map_err(DiskError::io("open", path))?;
        Self::verified(file, path)
    }
}

impl<R: Read + Seek> SnapshotReader<R> {
    /// Verifies all of `from`, which errors call `path`.
    pub(crate) fn verified(mut from: R, path: &Path) -> Result<Self, DiskError> {
        let len = from.seek(SeekFrom::End(0)).map_err(DiskError::io("read", path))?;
        let rewound = |from: &mut R| from.rewind().map_err(DiskError::io("read", path));
        rewound(&mut from)?;
        check_outside(&mut from, path, len)?;
        rewound(&mut from)?;
        let covered = len - DIGEST as u64;
        let mut frames = open_frames(from, path, covered)?;
        while frames.next_frame()?.is_some() {}
        let end = frames.offset();
        let mut rest = frames.into_inner();
        let mut padding = Vec::new();
        // Bounded by its own rule: more than a sector of padding is refused.
        (&mut rest).take(SECTOR as u64).read_to_end(&mut padding).map_err(DiskError::io("read", path))?;
        if padding.len() >= SECTOR || padding.iter().any(|byte| *byte != 0) {
            return Err(DiskError::damaged(path, end, "more than padding lies between its trailer and its checksum"));
        }
        let mut from = rest.into_inner().into_inner();
        rewound(&mut from)?;
        Ok(Self { frames: open_frames(from, path, covered)?, len })
    }

    /// Length of the file.
    pub(crate) fn file_len(&self) -> u64 {
        self.len
    }

    /// Whose state it is, and where the log was.
    #[cfg(test)]
    pub(in crate::disk) fn header(&self) -> FrameHeader {
        self.frames.header()
    }

    /// The next frame.
    pub(crate) fn next_frame(&mut self) -> Result<Option<Vec<u8>>, DiskError> {
        self.frames.next_frame()
    }
}

fn open_frames<R: Read>(from: R, path: &Path, covered: u64) -> Result<FrameReader<Take<BufReader<R>>>, DiskError> {
    FrameReader::new(BufReader::with_capacity(BUFFER_BYTES, from).take(covered), Kind::Snapshot, path)
}

/// What shows without looking into frames: what the file is, that it is whole, and that its checksum matches.
fn check_outside(from: &mut (impl Read + Seek), path: &Path, len: u64) -> Result<(), DiskError> {
    let refused = |rule: String| DiskError::NotASnapshot { path: path.to_owned(), rule };
    let failed = |error: io::Error| DiskError::io("read", path)(error);
    let mut start = Vec::with_capacity(HEADER);
    from.take(HEADER as u64).read_to_end(&mut start).map_err(failed)?;
    if start.get(BBOLT_MAGIC_AT..BBOLT_MAGIC_AT + 4) == Some(&BBOLT_MAGIC) {
        return Err(refused(
            "it is a database of etcd; restore it with `etcdutl snapshot restore`, run etcd on that, and copy it with \
             `causeway kvstore migrate --from URL --to URL`"
                .into(),
        ));
    }
    if !start.starts_with(&Kind::Snapshot.magic()) {
        return Err(refused("it does not begin as one; save one with `causeway kvstore snapshot save`".into()));
    }
    if len % SECTOR as u64 != DIGEST as u64 || len < (HEADER + DIGEST) as u64 {
        return Err(refused(format!(
            "its length is {len}, and that of a whole one leaves {DIGEST} when divided by {SECTOR}: it was cut short or \
             changed; use another copy"
        )));
    }
    from.rewind().map_err(failed)?;
    let mut hashed = Hashing::new(from);
    io::copy(&mut BufReader::with_capacity(BUFFER_BYTES, (&mut hashed).take(len - DIGEST as u64)), &mut io::sink())
        .map_err(failed)?;
    let (from, computed) = hashed.finish();
    let mut stated = [0; DIGEST];
    from.read_exact(&mut stated).map_err(failed)?;
    if stated != computed {
        return Err(refused(
            "the sha256 at its end is not that of its content: it was cut short or changed; use another copy".into(),
        ));
    }
    Ok(())
}
