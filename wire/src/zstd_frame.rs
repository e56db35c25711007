//! One zstd frame; decompressed with a bound on what it may grow to.

use std::io::Read as _;

use crate::{
    Broken,
    error::{Fault, Read},
};

pub(crate) fn compress(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

/// Decompresses at most `limit` bytes; the decoder's window is bounded by it too, so a small value
/// cannot make us allocate much.
pub(crate) fn decompress(value: &[u8], limit: usize) -> Read<Vec<u8>> {
    let damaged = |what: &str| Fault::new(Broken::Compressed(what.to_owned()));
    let window = window_size(value).ok_or_else(|| damaged("no frame header"))?;
    if window > limit as u64 {
        return Err(Fault::new(Broken::Size { size: usize::try_from(window).unwrap_or(usize::MAX), limit }));
    }
    let mut source = value;
    let decoder = ruzstd::decoding::StreamingDecoder::new(&mut source).map_err(|e| damaged(&e.to_string()))?;
    let mut out = Vec::new();
    decoder.take(limit as u64 + 1).read_to_end(&mut out).map_err(|e| damaged(&e.to_string()))?;
    match out.len() {
        size if size > limit => Err(Fault::new(Broken::Size { size, limit })),
        _ => Ok(out),
    }
}

/// From the frame header (RFC 8878, section 3.1.1.1): the memory that decoding needs.
fn window_size(value: &[u8]) -> Option<u64> {
    let (magic, rest) = value.split_at_checked(4)?;
    let (&descriptor, rest) = rest.split_first()?;
    if magic != [0x28, 0xb5, 0x2f, 0xfd] {
        return None;
    }
    let single_segment = descriptor & 0x20 != 0;
    if !single_segment {
        let window = *rest.first()?;
        let base = 1u64 << (10 + (window >> 3));
        return Some(base + base / 8 * u64::from(window & 7));
    }
    let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let size = [1, 2, 4, 8][usize::from(descriptor >> 6)];
    let mut bytes = [0; 8];
    bytes[..size].copy_from_slice(rest.get(dictionary..dictionary + size)?);
    Some(u64::from_le_bytes(bytes) + if size == 2 { 256 } else { 0 })
}
