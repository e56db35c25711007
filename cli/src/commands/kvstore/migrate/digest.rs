//! What a store holds, in a line: equal for equal keys, values and leases, whatever their revisions.

use std::fmt;
use std::hash::Hasher;

use anyhow::Result;
use etcd_client::Client;

use super::keys;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Digest {
    keys: usize,
    hash: u64,
}

// === impl Digest ===

impl Digest {
    /// Of a revision; 0 is the current one.
    pub(super) async fn of(client: &mut Client, revision: i64) -> Result<Self> {
        // Not keyed: both sides are hashed by this process.
        let mut hasher = std::hash::DefaultHasher::new();
        let (revision, mut kvs) = keys::page(client, b"\0".to_vec(), revision).await?;
        let mut count = 0;
        while let Some(next) = keys::behind(&kvs) {
            for kv in &kvs {
                for part in [kv.key(), kv.value()] {
                    hasher.write_usize(part.len());
                    hasher.write(part);
                }
                hasher.write_i64(kv.lease());
            }
            count += kvs.len();
            (_, kvs) = keys::page(client, next, revision).await?;
        }
        Ok(Self { keys: count, hash: hasher.finish() })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} keys, hash {:016x}", self.keys, self.hash)
    }
}
