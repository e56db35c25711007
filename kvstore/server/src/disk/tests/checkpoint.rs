//! Checkpoints: whole or refused, never half and never an older one instead.

use std::path::{Path, PathBuf};

use proptest::prelude::*;

use crate::disk::fake::FaultyFiles;
use crate::disk::{Checkpoint, CheckpointWriter, DiskError, Identity};

const IDENTITY: Identity = Identity { cluster_id: 0xC1, member_id: 0x3E };
const DIR: &str = "/checkpoints";

fn fake() -> FaultyFiles {
    let fake = FaultyFiles::new(1);
    fake.shared().create_dir(Path::new(DIR)).unwrap();
    fake
}

fn write(fake: &FaultyFiles, index: u64, frames: &[Vec<u8>]) -> Result<(), DiskError> {
    let mut writer = CheckpointWriter::create(fake.shared(), Path::new(DIR), IDENTITY, index, 4)?;
    for frame in frames {
        writer.write(frame)?;
    }
    writer.finish()
}

fn path(index: u64) -> PathBuf {
    Path::new(DIR).join(format!("{index:016x}.checkpoint"))
}

/// An index and frames.
type Content = (u64, Vec<Vec<u8>>);

/// All frames of the newest checkpoint, or the refusal.
fn read(fake: &FaultyFiles) -> Result<Option<Content>, DiskError> {
    let Some(mut checkpoint) = Checkpoint::latest(&fake.shared(), Path::new(DIR))? else { return Ok(None) };
    assert_eq!((checkpoint.identity(), checkpoint.term()), (IDENTITY, 4));
    let mut frames = Vec::new();
    while let Some(frame) = checkpoint.next_frame()? {
        frames.push(frame);
    }
    assert_eq!(checkpoint.next_frame()?, None);
    Ok(Some((checkpoint.index(), frames)))
}

fn names(fake: &FaultyFiles) -> Vec<String> {
    fake.shared().list(Path::new(DIR)).unwrap()
}

/// Frames that begin at offsets 64, 77 and 85, and a trailer at 105.
fn three_frames() -> Vec<Vec<u8>> {
    vec![b"first".to_vec(), vec![], b"third frame!".to_vec()]
}

#[test]
fn newest_checkpoint_is_read_and_older_ones_are_gone() {
    let fake = fake();
    assert!(read(&fake).unwrap().is_none());
    write(&fake, 7, &[vec![1; 10]]).unwrap();
    write(&fake, 30, &three_frames()).unwrap();
    assert_eq!(read(&fake).unwrap(), Some((30, three_frames())));
    assert_eq!(names(&fake), ["000000000000001e.checkpoint"]);
    // The same index again: the state is the same, and the file whole at every moment.
    write(&fake, 30, &[vec![2; 10]]).unwrap();
    assert_eq!(read(&fake).unwrap(), Some((30, vec![vec![2; 10]])));
}

#[test]
fn checkpoint_that_was_not_finished_leaves_nothing() {
    let fake = fake();
    write(&fake, 7, &three_frames()).unwrap();
    let begun = || CheckpointWriter::create(fake.shared(), Path::new(DIR), IDENTITY, 9, 4).unwrap();
    drop(begun());
    assert_eq!(names(&fake).len(), 1);
    // The process dies: no destructor runs.
    std::mem::forget(begun());
    assert_eq!(names(&fake).len(), 2);
    assert_eq!(read(&fake).unwrap(), Some((7, three_frames())));
    assert_eq!(names(&fake).len(), 1);
}

#[test]
fn full_disk_fails_the_new_checkpoint_and_keeps_the_old_one() {
    let fake = fake();
    write(&fake, 7, &three_frames()).unwrap();
    fake.leave_room(3_000_000);
    let failure = write(&fake, 9, &vec![vec![3; 100_000]; 100]).unwrap_err();
    assert!(failure.is_full(), "{failure}");
    assert_eq!(read(&fake).unwrap(), Some((7, three_frames())));
    assert_eq!(fake.shared().free_space(Path::new(DIR)).unwrap(), 3_000_000);
}

#[test]
fn failed_sync_fails_the_new_checkpoint_and_keeps_the_old_one() {
    let fake = fake();
    write(&fake, 7, &three_frames()).unwrap();
    fake.fail_next_sync();
    assert!(matches!(write(&fake, 9, &three_frames()), Err(DiskError::Io { action: "sync", .. })));
    assert_eq!(names(&fake).len(), 1);
    write(&fake, 9, &three_frames()).unwrap();
    assert_eq!(read(&fake).unwrap(), Some((9, three_frames())));
}

#[test]
fn damage_is_refused_by_file_and_offset_and_no_older_checkpoint_is_taken_instead() {
    let check = |edit: &dyn Fn(&mut Vec<u8>), expected: (u64, &str)| {
        let fake = fake();
        write(&fake, 7, &three_frames()).unwrap();
        let older = fake.bytes(&path(7));
        write(&fake, 30, &three_frames()).unwrap();
        // An older one that is still there, as after a crash before its removal.
        fake.shared().open(&path(7), crate::disk::files::Mode::CreateNew).unwrap().write_at(&older, 0).unwrap();
        fake.edit(&path(30), edit);
        match read(&fake).unwrap_err() {
            DiskError::Damaged { path: found, offset, what } => {
                assert_eq!((found, offset, what.as_str()), (path(30), expected.0, expected.1));
            }
            other => panic!("{other}"),
        }
    };
    check(&|bytes| bytes.clear(), (0, "it ends within its header"));
    check(&|bytes| bytes[3] ^= 4, (0, "it does not begin as a checkpoint does"));
    check(&|bytes| bytes[32] ^= 4, (0, "the checksum of its header does not match"));
    check(&|bytes| bytes[72] ^= 4, (64, "the checksum of a frame does not match"));
    check(&|bytes| bytes[97] ^= 4, (85, "the checksum of a frame does not match"));
    check(&|bytes| bytes[70] ^= 4, (64, "it ends within a frame"));
    check(&|bytes| drop(bytes.drain(77..85)), (77, "the checksum of a frame does not match"));
    check(&|bytes| drop(bytes.drain(85..105)), (85, "its trailer does not count the frames that are there"));
    check(&|bytes| bytes[115] ^= 4, (105, "its trailer does not count the frames that are there"));
    check(&|bytes| bytes.truncate(105), (105, "it ends without its trailer"));
    check(&|bytes| bytes.truncate(120), (105, "it ends within its trailer"));
    check(&|bytes| bytes.push(0), (133, "something lies behind its trailer"));
}

#[test]
fn every_flipped_bit_and_every_cut_is_refused() {
    let fake = fake();
    write(&fake, 30, &three_frames()).unwrap();
    let whole = fake.bytes(&path(30));
    for at in 0..whole.len() * 8 {
        fake.flip_bit(&path(30), at as u64 / 8, (at % 8) as u8);
        assert!(read(&fake).is_err(), "bit {at}");
        fake.flip_bit(&path(30), at as u64 / 8, (at % 8) as u8);
    }
    for len in 0..whole.len() {
        fake.edit(&path(30), |bytes| *bytes = whole[..len].to_vec());
        assert!(read(&fake).is_err(), "{len} bytes");
    }
    fake.edit(&path(30), |bytes| *bytes = whole);
    assert_eq!(read(&fake).unwrap(), Some((30, three_frames())));
}

#[test]
fn newer_format_and_renamed_file_are_refused_by_name() {
    let fake = fake();
    write(&fake, 30, &three_frames()).unwrap();
    fake.shared().rename(&path(30), &path(31)).unwrap();
    let refusal = read(&fake).unwrap_err().to_string();
    assert!(
        refusal.contains("1f.checkpoint is damaged at offset 0: its header says that it is of index 1e"),
        "{refusal}"
    );
    fake.edit(&path(31), |bytes| {
        bytes[8] = 9;
        let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..64]);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    });
    assert!(matches!(read(&fake), Err(DiskError::UnknownVersion { found: 9, known: 1, .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_frames_are_read_back(frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..3000), 0..20)) {
        let fake = fake();
        write(&fake, 5, &frames).unwrap();
        fake.crash();
        prop_assert_eq!(read(&fake).unwrap(), Some((5, frames)));
    }
}
