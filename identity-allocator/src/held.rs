//! The numbers in use, on disk: a pod whose labels this node already holds starts with the store down, also after a
//! restart.

use std::path::Path;

use model::{Labels, NumericIdentity};
use statedb::disk::{self, DiskError};

const TABLE: &str = "identities-held";

/// Writes the numbers in use.
pub(crate) fn save<'a>(
    path: &Path,
    held: impl Iterator<Item = (&'a Labels, NumericIdentity)>,
) -> Result<(), DiskError> {
    let record = |(labels, number): (&Labels, NumericIdentity)| {
        let mut bytes = number.get().to_le_bytes().to_vec();
        bytes.extend(wire::identity::encode(labels));
        bytes
    };
    disk::save(path, TABLE, &held.map(record).collect::<Vec<_>>())
}

/// Reads them; what does not parse is left out, because a label set without a number is merely asked for again.
pub(crate) fn load(path: &Path) -> Result<Vec<(Labels, NumericIdentity)>, DiskError> {
    let parse = |record: Vec<u8>| {
        let (number, labels) = record.split_first_chunk::<4>()?;
        let labels = wire::labels::decode("identities-held", labels).ok()?;
        Some((labels, NumericIdentity::new(u32::from_le_bytes(*number))))
    };
    Ok(disk::load(path, TABLE)?.into_iter().filter_map(parse).collect())
}
