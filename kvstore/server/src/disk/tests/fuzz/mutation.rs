//! What happens to files, and checksums repaired after it.

use rand::Rng;
use rand::rngs::StdRng;
use ring::digest::{SHA256, digest};

use crate::disk::files::SECTOR;

/// One to four accidents.
pub(super) fn mutate(bytes: &mut Vec<u8>, dice: &mut StdRng) {
    for _ in 0..dice.random_range(1..=4) {
        if bytes.is_empty() {
            bytes.push(dice.random());
        }
        let at = dice.random_range(0..bytes.len());
        // Most of a file is padding or values; what is short and at its beginning decides.
        let at = if dice.random_bool(0.5) { at % 100 + at / SECTOR * SECTOR } else { at }.min(bytes.len() - 1);
        let end = (at + dice.random_range(1..=SECTOR)).min(bytes.len());
        match dice.random_range(0..8) {
            0 => bytes[at] ^= 1 << dice.random_range(0..8),
            1 => bytes[at] = dice.random(),
            2 => bytes[at..end].fill([0, 0xFF, dice.random()][dice.random_range(0..3)]),
            3 => {
                let number: u32 = [0, 1, u32::MAX, u32::MAX - 1, 1 << 31, dice.random()][dice.random_range(0..6)];
                let bytes = &mut bytes[at..];
                let len = bytes.len().min(4);
                bytes[..len].copy_from_slice(&number.to_le_bytes()[..len]);
            }
            4 => bytes.truncate(at),
            5 => drop(bytes.drain(at..end)),
            6 => {
                let piece = bytes[at..end].to_vec();
                let to = dice.random_range(0..bytes.len());
                let len = piece.len().min(bytes.len() - to);
                bytes[to..to + len].copy_from_slice(&piece[..len]);
            }
            _ => {
                let sector = at / SECTOR * SECTOR;
                let end = (sector + SECTOR).min(bytes.len());
                bytes[sector..end].fill(0);
            }
        }
    }
}

/// Repairs the checksum of a header of `len` bytes, and that only.
fn reseal(bytes: &mut [u8], len: usize) {
    if bytes.len() >= len {
        let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..len]);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    }
}

/// Of a checkpoint.
pub(super) fn reseal_header(bytes: &mut [u8]) {
    reseal(bytes, 64);
}

/// Of a snapshot: its length, its header and the sha256.
pub(super) fn reseal_sha256(bytes: &mut Vec<u8>, dice: &mut StdRng) {
    bytes.truncate(bytes.len().saturating_sub(32));
    bytes.resize(bytes.len().next_multiple_of(SECTOR), 0);
    if dice.random_bool(0.5) {
        reseal(bytes, 64);
    }
    bytes.extend_from_slice(digest(&SHA256, bytes).as_ref());
}

/// Of a segment: the length, its header, and the header and first record of each batch, as its own header would have
/// them.
pub(super) fn reseal_batches(bytes: &mut Vec<u8>, dice: &mut StdRng) {
    if dice.random_bool(0.5) {
        bytes.resize(4096, 0);
    }
    if bytes.len() < SECTOR {
        return;
    }
    reseal(bytes, SECTOR);
    let identity = crc32c::crc32c_append(crc32c::crc32c(&bytes[16..24]), &bytes[24..32]);
    let segment = crc32c::crc32c_append(crc32c::crc32c_append(identity, &bytes[32..40]), &bytes[40..48]);
    for start in (SECTOR..bytes.len()).step_by(SECTOR) {
        let batch = &mut bytes[start..];
        if batch.len() < 32 || batch[..4] != *b"btch" {
            continue;
        }
        let crc = crc32c::crc32c_append(segment, &batch[8..24]);
        batch[4..8].copy_from_slice(&crc.to_le_bytes());
        let seed = crc32c::crc32c_append(identity, &batch[8..16]).wrapping_add(24);
        let len = u32::from_le_bytes([batch[28], batch[29], batch[30], batch[31]]) as usize;
        if let Some(record) = batch.get(28..).and_then(|rest| rest.get(..len.saturating_add(4))) {
            let crc = crc32c::crc32c_append(seed, record);
            batch[24..28].copy_from_slice(&crc.to_le_bytes());
        }
    }
}
