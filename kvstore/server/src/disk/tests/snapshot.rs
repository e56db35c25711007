//! Snapshots: what stock etcdctl accepts, and what is refused before anything is restored.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use ring::digest::{SHA256, digest};

use crate::disk::{DiskError, Identity, SnapshotReader, SnapshotWriter, verify_snapshot};

const IDENTITY: Identity = Identity { cluster_id: 0xC1, member_id: 0x3E };

pub(super) fn snapshot(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut writer = SnapshotWriter::new(Vec::new(), IDENTITY, 30, 4).unwrap();
    for frame in frames {
        writer.write(frame).unwrap();
    }
    writer.finish().unwrap()
}

fn three_frames() -> Vec<Vec<u8>> {
    vec![b"first".to_vec(), vec![], vec![7; 600]]
}

/// All frames of a snapshot, or the refusal.
fn read(bytes: &[u8]) -> Result<Vec<Vec<u8>>, DiskError> {
    let mut reader = SnapshotReader::verified(Cursor::new(bytes), Path::new("saved.db"))?;
    let mut frames = Vec::new();
    while let Some(frame) = reader.next_frame()? {
        frames.push(frame);
    }
    assert_eq!(reader.summary().frames, frames.len() as u64);
    Ok(frames)
}

/// With a checksum that matches: as if we had written it wrong.
fn resealed(mut bytes: Vec<u8>, edit: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    bytes.truncate(bytes.len() - 32);
    edit(&mut bytes);
    bytes.extend_from_slice(digest(&SHA256, &bytes).as_ref());
    bytes
}

#[test]
fn file_is_summed_up_and_read_back() {
    let temp = tempfile::tempdir().unwrap();
    let path: PathBuf = temp.path().join("saved.db");
    let bytes = snapshot(&three_frames());
    std::fs::write(&path, &bytes).unwrap();
    let summary = verify_snapshot(&path).unwrap();
    assert_eq!((summary.identity, summary.index, summary.term, summary.frames), (IDENTITY, 30, 4, 3));
    assert_eq!((summary.len, summary.sha256.as_slice()), (1056, &bytes[1024..]));
    let mut reader = SnapshotReader::open(&path).unwrap();
    assert_eq!(reader.next_frame().unwrap().unwrap(), b"first");
    assert!(matches!(verify_snapshot(&temp.path().join("missing")), Err(DiskError::Io { action: "open", .. })));
}

#[test]
fn what_is_not_a_whole_snapshot_is_refused_with_its_rule() {
    let whole = snapshot(&three_frames());
    let check = |bytes: &[u8], expected: &str| {
        let refusal = read(bytes).unwrap_err().to_string();
        assert!(refusal.starts_with("saved.db is not a snapshot to restore from: "), "{refusal}");
        assert!(refusal.contains(expected), "{refusal}");
    };
    check(b"", "it does not begin as one");
    check(b"PK\x03\x04", "it does not begin as one");
    check(&whole[..100], "its length is 100, and that of a whole one leaves 32 when divided by 512");
    check(&whole[..1024], "its length is 1024");
    check(&whole[..544], "the sha256 at its end is not that of its content");
    check(&whole[..32], "its length is 32");
    let mut flipped = whole.clone();
    flipped[80] ^= 1;
    check(&flipped, "the sha256 at its end is not that of its content");
    // The first page of a bbolt file: 16 bytes about the page, then the magic of the database.
    let mut etcd = vec![0; 8192];
    etcd[16..20].copy_from_slice(&[0xED, 0xDA, 0x0C, 0xED]);
    check(&etcd, "it is a database of etcd; restore it with `etcdutl snapshot restore`");
}

#[test]
fn snapshot_that_was_written_wrong_is_damaged_in_spite_of_its_checksum() {
    let check = |edit: &dyn Fn(&mut Vec<u8>), expected: &str| {
        let refusal = read(&resealed(snapshot(&three_frames()), edit)).unwrap_err().to_string();
        assert!(refusal.starts_with(expected), "{refusal}");
    };
    check(&|bytes| bytes[72] ^= 1, "saved.db is damaged at offset 64: the checksum of a frame does not match");
    check(&|bytes| bytes[40] ^= 1, "saved.db is damaged at offset 0: the checksum of its header does not match");
    check(&|bytes| bytes[1000] = 1, "saved.db is damaged at offset 721: more than padding lies between");
    check(&|bytes| bytes.resize(1536, 0), "saved.db is damaged at offset 721: more than padding lies between");
    check(&|bytes| bytes.truncate(512), "saved.db is damaged at offset 85: it ends within a frame");
    let newer = |bytes: &mut Vec<u8>| {
        bytes[8] = 2;
        let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..64]);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    };
    check(&newer, "saved.db has format version 2, and this release reads version 1: start the release that wrote it");
}

#[test]
fn every_flipped_bit_and_every_cut_is_refused() {
    let whole = snapshot(&three_frames());
    for at in 0..whole.len() * 8 {
        let mut flipped = whole.clone();
        flipped[at / 8] ^= 1 << (at % 8);
        assert!(read(&flipped).is_err(), "bit {at}");
    }
    for len in 0..whole.len() {
        assert!(read(&whole[..len]).is_err(), "{len} bytes");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_frames_are_read_back_and_pass_for_whole_with_etcdctl(
        frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..3000), 0..20)
    ) {
        let bytes = snapshot(&frames);
        prop_assert_eq!(bytes.len() % 512, 32);
        let (content, checksum) = bytes.split_at(bytes.len() - 32);
        let computed = digest(&SHA256, content);
        prop_assert_eq!(computed.as_ref(), checksum);
        prop_assert_eq!(read(&bytes).unwrap(), frames);
    }
}
