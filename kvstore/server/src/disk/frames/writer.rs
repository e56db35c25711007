//! Writing frames into anything that takes bytes.

use std::io::{self, Write};

use super::{FrameHeader, Kind, Tally};

/// A stream that is being written.
#[derive(Debug)]
pub(in crate::disk) struct FrameWriter<W> {
    to: W,
    tally: Tally,
}

// === impl FrameWriter ===

impl<W: Write> FrameWriter<W> {
    /// Writes the header.
    pub(in crate::disk) fn new(mut to: W, kind: Kind, header: &FrameHeader) -> io::Result<Self> {
        let header = header.encode(kind);
        to.write_all(&header)?;
        Ok(Self { to, tally: Tally::new(&header) })
    }

    /// Writes one frame.
    pub(in crate::disk) fn write(&mut self, frame: &[u8]) -> io::Result<()> {
        let len = u32::try_from(frame.len()).ok().filter(|len| *len < super::END);
        let len = len.ok_or_else(|| io::Error::other("a frame is shorter than 4 GiB"))?;
        let crc = self.tally.checksum(frame);
        self.to.write_all(&crc.to_le_bytes())?;
        self.to.write_all(&len.to_le_bytes())?;
        self.to.write_all(frame)?;
        self.tally.count(frame, crc);
        Ok(())
    }

    /// Writes the trailer and gives back what was written to.
    pub(in crate::disk) fn finish(mut self) -> io::Result<W> {
        self.to.write_all(&self.tally.trailer())?;
        Ok(self.to)
    }
}
