//! Keys of one revision, page by page.

use anyhow::{Context, Result};
use etcd_client::{Client, GetOptions, KeyValue, PutOptions, Txn, TxnOp};

use super::leases::Leases;

const PAGE: i64 = 1_000;
/// Operations of one transaction: etcd's bound.
pub(super) const OPERATIONS: usize = 128;
/// Bytes of one transaction, below etcd's bound of 1.5 MiB for a request.
const BYTES: usize = 1 << 20;
/// The first key that there can be; also the end that stands for every key.
const FIRST: &[u8] = b"\0";

/// Operations for the destination that go together.
#[derive(Default)]
pub(super) struct Batch {
    ops: Vec<TxnOp>,
    bytes: usize,
}

pub(super) async fn cluster(client: &mut Client) -> Result<u64> {
    let status = client.status().await.context("ask for the status")?;
    status.header().map(etcd_client::ResponseHeader::cluster_id).context("the answer has no header")
}

/// The store's revision, read so that nothing acknowledged is behind it.
pub(super) async fn revision(client: &mut Client) -> Result<i64> {
    let answer = client.get(FIRST, Some(GetOptions::new().with_keys_only())).await.context("ask for the revision")?;
    answer.header().map(etcd_client::ResponseHeader::revision).context("the answer has no header")
}

pub(super) async fn count(client: &mut Client) -> Result<i64> {
    let options = GetOptions::new().with_all_keys().with_count_only();
    Ok(client.get(FIRST, Some(options)).await.context("count keys")?.count())
}

/// A page of a revision from a key on (0: the current one), and that revision.
pub(super) async fn page(client: &mut Client, from: Vec<u8>, revision: i64) -> Result<(i64, Vec<KeyValue>)> {
    let options = GetOptions::new().with_from_key().with_limit(PAGE).with_revision(revision);
    let mut answer = client.get(from, Some(options)).await.context("read a page of keys")?;
    let read_at = answer.header().map_or(revision, etcd_client::ResponseHeader::revision);
    Ok((if revision > 0 { revision } else { read_at }, answer.take_kvs()))
}

/// The key behind the last of a page.
pub(super) fn behind(kvs: &[KeyValue]) -> Option<Vec<u8>> {
    let last = kvs.last()?;
    Some([last.key(), b"\0"].concat())
}

/// Copies every key as it is at one revision: that, and how many there are.
pub(super) async fn copy(from: &mut Client, to: &mut Client, leases: &mut Leases) -> Result<(i64, usize)> {
    let (revision, mut kvs) = page(from, FIRST.to_vec(), 0).await?;
    let mut copied = 0;
    while let Some(next) = behind(&kvs) {
        let mut batch = Batch::default();
        for kv in &kvs {
            if !leases.carry(from, to, kv.lease()).await? {
                // Its lease ended meanwhile: the deletion follows.
                continue;
            }
            batch.put(to, kv).await?;
            copied += 1;
        }
        batch.send(to).await?;
        (_, kvs) = page(from, next, revision).await?;
    }
    Ok((revision, copied))
}

// === impl Batch ===

impl Batch {
    pub(super) async fn put(&mut self, to: &mut Client, kv: &KeyValue) -> Result<()> {
        let options = PutOptions::new().with_lease(kv.lease());
        let size = kv.key().len() + kv.value().len();
        self.add(to, TxnOp::put(kv.key(), kv.value(), Some(options)), size).await
    }

    pub(super) async fn delete(&mut self, to: &mut Client, key: &[u8]) -> Result<()> {
        self.add(to, TxnOp::delete(key, None), key.len()).await
    }

    pub(super) async fn send(&mut self, to: &mut Client) -> Result<()> {
        let Self { ops, .. } = std::mem::take(self);
        if !ops.is_empty() {
            to.txn(Txn::new().and_then(ops)).await.context("write to --to")?;
        }
        Ok(())
    }

    async fn add(&mut self, to: &mut Client, op: TxnOp, size: usize) -> Result<()> {
        if self.ops.len() == OPERATIONS || self.bytes + size > BYTES {
            self.send(to).await?;
        }
        self.ops.push(op);
        self.bytes += size;
        Ok(())
    }
}
