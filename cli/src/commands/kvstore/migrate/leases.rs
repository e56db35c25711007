//! Leases keep their numbers, so that their owners go on keeping them alive at the copy; until then we do.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use etcd_client::{Client, LeaseGrantOptions};

/// Of its time: so often a lease is looked at and kept alive.
const PARTS: u32 = 3;

#[derive(Default)]
pub(super) struct Leases {
    /// By number: its time, and when it is due. `None`: it is over at the source.
    rows: BTreeMap<i64, Option<(Duration, Instant)>>,
}

pub(super) async fn all(from: &mut Client) -> Result<Vec<i64>> {
    let listed = from.leases().await.context("list leases")?;
    Ok(listed.leases().iter().map(etcd_client::LeaseStatus::id).collect())
}

// === impl Leases ===

impl Leases {
    pub(super) fn count(&self) -> usize {
        self.rows.values().flatten().count()
    }

    /// Grants a lease at the copy as it was granted at the source. False when it is over there; no lease is fine.
    pub(super) async fn carry(&mut self, from: &mut Client, to: &mut Client, id: i64) -> Result<bool> {
        if id == 0 {
            return Ok(true);
        }
        if let Some(row) = self.rows.get(&id) {
            return Ok(row.is_some());
        }
        let asked = from.lease_time_to_live(id, None).await.with_context(|| format!("ask for lease {id:x}"))?;
        if asked.ttl() <= 0 {
            self.rows.insert(id, None);
            return Ok(false);
        }
        let ttl = asked.granted_ttl();
        let options = LeaseGrantOptions::new().with_id(id);
        to.lease_grant(ttl, Some(options)).await.with_context(|| format!("grant lease {id:x} at --to"))?;
        let ttl = Duration::from_secs(ttl.unsigned_abs());
        self.rows.insert(id, Some((ttl, Instant::now() + ttl / PARTS)));
        Ok(true)
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.rows.values().flatten().map(|(_, due)| *due).min()
    }

    /// Keeps alive what is due and lives at the source. What is over there ends here by itself: the deletions of its keys
    /// are followed before.
    pub(super) async fn keep(&mut self, from: &mut Client, to: &mut Client) -> Result<()> {
        let now = Instant::now();
        for (id, row) in &mut self.rows {
            let Some((ttl, due)) = row.as_mut().filter(|(_, due)| *due <= now) else { continue };
            let asked = from.lease_time_to_live(*id, None).await.with_context(|| format!("ask for lease {id:x}"))?;
            if asked.ttl() <= 0 {
                *row = None;
                continue;
            }
            let (mut keeper, mut kept) =
                to.lease_keep_alive(*id).await.with_context(|| format!("keep lease {id:x} alive at --to"))?;
            keeper.keep_alive().await?;
            kept.message().await.with_context(|| format!("keep lease {id:x} alive at --to"))?;
            *due = now + *ttl / PARTS;
        }
        Ok(())
    }
}
