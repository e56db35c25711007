//! Checksummed snapshots of a table on disk: what an agent starts from while its store is down.
//!
//! ```text
//! "CWSNAP1\n"  name-length u32  name  record-count u64  { length u32  crc32c u32  bytes }*  crc32c-of-all u32
//! ```
//! Numbers are little-endian. A file is either wholly valid or refused: half a snapshot would be a silent mass delete.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"CWSNAP1\n";

/// Why a snapshot could not be used.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The file could not be read.
    #[error("read snapshot {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file could not be written.
    #[error("write snapshot {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not what was written.
    #[error("snapshot {} is damaged ({rule}): remove the file, it is rebuilt from the store", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not hold.
        rule: &'static str,
    },
}

/// Writes records under a table's name: temporary file, sync, rename, so a crash leaves the old or the new snapshot.
///
/// # Errors
///
/// [`DiskError::Write`]; the old snapshot is then untouched.
pub fn save(path: &Path, table: &str, records: &[Vec<u8>]) -> Result<(), DiskError> {
    let error = |source| DiskError::Write { path: path.to_path_buf(), source };
    let temporary = path.with_extension("tmp");
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(error)?;
    }
    let file = File::create(&temporary).map_err(error)?;
    let mut out = Summed { inner: BufWriter::new(file), sum: 0 };
    write_all(&mut out, table, records).map_err(error)?;
    let sum = out.sum;
    let mut file = out.inner;
    file.write_all(&sum.to_le_bytes()).map_err(error)?;
    let file = file.into_inner().map_err(|failed| error(failed.into_error()))?;
    file.sync_all().map_err(error)?;
    fs::rename(&temporary, path).map_err(error)?;
    // Without this the rename itself may be lost with the power.
    if let Some(folder) = path.parent() {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(error)?;
    }
    Ok(())
}

/// Reads the records of a table's snapshot; an absent file has none.
///
/// # Errors
///
/// [`DiskError::Read`] when the file is there and unreadable, [`DiskError::Damaged`] when a checksum, a length or the
/// table's name does not hold.
pub fn load(path: &Path, table: &str) -> Result<Vec<Vec<u8>>, DiskError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(DiskError::Read { path: path.to_path_buf(), source }),
    };
    parse(&bytes, table).map_err(|rule| DiskError::Damaged { path: path.to_path_buf(), rule })
}

fn write_all(out: &mut impl Write, table: &str, records: &[Vec<u8>]) -> io::Result<()> {
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge));
    out.write_all(MAGIC)?;
    out.write_all(&length(table.as_bytes())?.to_le_bytes())?;
    out.write_all(table.as_bytes())?;
    out.write_all(&(records.len() as u64).to_le_bytes())?;
    for record in records {
        out.write_all(&length(record)?.to_le_bytes())?;
        out.write_all(&crc32c::crc32c(record).to_le_bytes())?;
        out.write_all(record)?;
    }
    Ok(())
}

fn parse(bytes: &[u8], table: &str) -> Result<Vec<Vec<u8>>, &'static str> {
    let (body, sum) = bytes.split_last_chunk::<4>().ok_or("shorter than its checksum")?;
    if crc32c::crc32c(body) != u32::from_le_bytes(*sum) {
        return Err("checksum of the file");
    }
    let mut rest = body.strip_prefix(MAGIC).ok_or("magic number")?;
    let name_length = take_u32(&mut rest)?;
    if take(&mut rest, name_length)? != table.as_bytes() {
        return Err("name of the table");
    }
    let count = u64::from_le_bytes(take(&mut rest, 8)?.try_into().map_err(|_| "record count")?);
    let mut records = Vec::new();
    while !rest.is_empty() {
        let length = take_u32(&mut rest)?;
        let sum = take_u32(&mut rest)?;
        let record = take(&mut rest, length)?;
        if crc32c::crc32c(record) != sum {
            return Err("checksum of a record");
        }
        records.push(record.to_vec());
    }
    if records.len() as u64 != count {
        return Err("record count");
    }
    Ok(records)
}

fn take<'a>(rest: &mut &'a [u8], length: u32) -> Result<&'a [u8], &'static str> {
    let (head, tail) = rest.split_at_checked(length as usize).ok_or("length of a field")?;
    *rest = tail;
    Ok(head)
}

fn take_u32(rest: &mut &[u8]) -> Result<u32, &'static str> {
    Ok(u32::from_le_bytes(take(rest, 4)?.try_into().map_err(|_| "length of a field")?))
}

struct Summed<W> {
    inner: W,
    sum: u32,
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.sum = crc32c::crc32c_append(self.sum, &bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_every_flipped_bit_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nodes.snap");
        assert!(load(&path, "nodes").unwrap().is_empty(), "an absent snapshot has no records");
        let records = vec![b"one".to_vec(), Vec::new(), b"three".to_vec()];
        save(&path, "nodes", &records).unwrap();
        assert_eq!(load(&path, "nodes").unwrap(), records);
        assert!(load(&path, "ips").is_err(), "another table's snapshot");
        let good = fs::read(&path).unwrap();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(parse(&bad, "nodes").is_err(), "bit {bit}");
        }
        for end in 0..good.len() {
            assert!(parse(&good[..end], "nodes").is_err(), "cut at {end}");
        }
    }
}
