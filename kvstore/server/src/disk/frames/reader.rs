//! Reading frames, and refusing what is not exactly what was written.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::{END, FrameHeader, HEADER, Kind, PREFIX, TRAILER, Tally};
use crate::disk::DiskError;

/// No more than this is reserved on the word of a length that nothing has confirmed yet.
const RESERVE: usize = 1024 * 1024;

/// A stream that is being read.
#[derive(Debug)]
pub(in crate::disk) struct FrameReader<R> {
    from: R,
    path: PathBuf,
    header: FrameHeader,
    offset: u64,
    tally: Tally,
    ended: bool,
}

// === impl FrameReader ===

impl<R: Read> FrameReader<R> {
    /// Reads the header. `path` is what errors name.
    pub(in crate::disk) fn new(mut from: R, kind: Kind, path: &Path) -> Result<Self, DiskError> {
        let mut bytes = [0; HEADER];
        read_exactly(&mut from, &mut bytes, path, 0, "it ends within its header")?;
        let header = FrameHeader::decode(&bytes, kind, path)?;
        let path = path.to_owned();
        Ok(Self { from, path, header, offset: HEADER as u64, tally: Tally::new(&bytes), ended: false })
    }

    pub(in crate::disk) fn header(&self) -> FrameHeader {
        self.header
    }

    /// Where the next frame begins, or the stream ended.
    pub(in crate::disk) fn offset(&self) -> u64 {
        self.offset
    }

    /// What the stream is read from, behind what was read.
    pub(in crate::disk) fn into_inner(self) -> R {
        self.from
    }

    /// The next frame; `None` once the trailer confirmed that all were read.
    pub(in crate::disk) fn next_frame(&mut self) -> Result<Option<Vec<u8>>, DiskError> {
        if self.ended {
            return Ok(None);
        }
        let mut prefix = [0; PREFIX];
        self.exactly(&mut prefix, "it ends without its trailer")?;
        let [a, b, c, d, len @ ..] = prefix;
        let crc = u32::from_le_bytes([a, b, c, d]);
        let len = u32::from_le_bytes(len);
        if len == END {
            return self.trailer(prefix);
        }
        let mut frame = Vec::with_capacity((len as usize).min(RESERVE));
        let read = (&mut self.from).take(u64::from(len)).read_to_end(&mut frame);
        read.map_err(DiskError::io("read", &self.path))?;
        if frame.len() < len as usize {
            return Err(self.damaged("it ends within a frame"));
        }
        if self.tally.checksum(&frame) != crc {
            return Err(self.damaged("the checksum of a frame does not match"));
        }
        self.tally.count(&frame, crc);
        self.offset += PREFIX as u64 + u64::from(len);
        Ok(Some(frame))
    }

    fn trailer(&mut self, prefix: [u8; PREFIX]) -> Result<Option<Vec<u8>>, DiskError> {
        let mut trailer = [0; TRAILER];
        trailer[..PREFIX].copy_from_slice(&prefix);
        self.exactly(&mut trailer[PREFIX..], "it ends within its trailer")?;
        if trailer != self.tally.trailer() {
            return Err(self.damaged("its trailer does not count the frames that are there"));
        }
        self.offset += TRAILER as u64;
        self.ended = true;
        Ok(None)
    }

    fn exactly(&mut self, bytes: &mut [u8], short: &'static str) -> Result<(), DiskError> {
        read_exactly(&mut self.from, bytes, &self.path, self.offset, short)
    }

    fn damaged(&self, what: &'static str) -> DiskError {
        DiskError::damaged(&self.path, self.offset, what)
    }
}

fn read_exactly(
    from: &mut impl Read,
    bytes: &mut [u8],
    path: &Path,
    offset: u64,
    short: &'static str,
) -> Result<(), DiskError> {
    from.read_exact(bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => DiskError::damaged(path, offset, short),
        _ => DiskError::io("read", path)(error),
    })
}
