//! What changes at the source after the copy: in its order, a revision at a time.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use etcd_client::{Client, EventType, WatchOptions, WatchResponse, WatchStream};

use super::keys::Batch;
use super::leases::Leases;

/// How often progress is asked for when nothing comes: without it nobody knows that there is nothing.
const PROGRESS: Duration = Duration::from_millis(100);

pub(super) struct Follower {
    from: Client,
    to: Client,
    leases: Leases,
    watch: WatchStream,
    /// Everything up to here is at the copy.
    revision: i64,
}

// === impl Follower ===

impl Follower {
    pub(super) async fn begin(mut from: Client, to: Client, leases: Leases, revision: i64) -> Result<Self> {
        let options = WatchOptions::new().with_all_keys().with_start_revision(revision + 1);
        let watch = from.watch(b"\0", Some(options)).await.context("watch --from")?;
        Ok(Self { from, to, leases, watch, revision })
    }

    pub(super) fn revision(&self) -> i64 {
        self.revision
    }

    pub(super) async fn follow_until(&mut self, enough: impl Future<Output = ()>) -> Result<()> {
        tokio::pin!(enough);
        // Asked between steps: one that is left in the middle loses the message that it took.
        while tokio::time::timeout(Duration::ZERO, &mut enough).await.is_err() {
            self.step().await?;
        }
        Ok(())
    }

    /// Follows until this revision is at the copy.
    pub(super) async fn follow_to(&mut self, revision: i64) -> Result<()> {
        while self.revision < revision {
            self.step().await?;
        }
        Ok(())
    }

    /// Waits a little for a message, and looks after leases.
    async fn step(&mut self) -> Result<()> {
        if self.leases.next().is_some_and(|due| due <= Instant::now()) {
            self.leases.keep(&mut self.from, &mut self.to).await?;
        }
        let message = match tokio::time::timeout(PROGRESS, self.watch.message()).await {
            Ok(message) => message.context("watch --from")?.context("--from ended the watch")?,
            Err(_) => return self.watch.request_progress().await.context("ask --from for progress"),
        };
        if message.compact_revision() > 0 {
            bail!(
                "--from compacted revision {} before it was followed: stop its compaction, empty --to and begin again",
                message.compact_revision()
            );
        }
        if message.canceled() {
            bail!("--from cancelled the watch: {}", message.cancel_reason());
        }
        self.apply(&message).await
    }

    async fn apply(&mut self, message: &WatchResponse) -> Result<()> {
        let mut batch = Batch::default();
        let mut revision = 0;
        for event in message.events() {
            let Some(kv) = event.kv() else { continue };
            if kv.mod_revision() != revision {
                batch.send(&mut self.to).await?;
                self.revision = self.revision.max(revision);
                revision = kv.mod_revision();
            }
            let lives = event.event_type() == EventType::Put
                && self.leases.carry(&mut self.from, &mut self.to, kv.lease()).await?;
            if lives {
                batch.put(&mut self.to, kv).await?;
            } else {
                batch.delete(&mut self.to, kv.key()).await?;
            }
        }
        batch.send(&mut self.to).await?;
        // A message without events says that there was nothing up to its revision.
        let told = message.header().map_or(0, etcd_client::ResponseHeader::revision);
        let told = if message.created() {
            0
        } else if message.events().is_empty() {
            told
        } else {
            revision
        };
        self.revision = self.revision.max(told);
        Ok(())
    }
}
