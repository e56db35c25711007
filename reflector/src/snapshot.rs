//! Imported rows on disk: what an agent starts from while its store is down.
//!
//! A record is `<cluster> 0 <name> 0 <value>`, with name and value as they stand in etcd.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use model::{ClusterName, NumericIdentity, Source};
use statedb::disk::{self, DiskError};
use statedb::{Reader, Row, RowRef, Writer};
use tables::{Identity, IpClaim, NodeRow, Origin, RemoteService, RemoteSlice};

/// Snapshots are written at most this often.
const INTERVAL: Duration = Duration::from_secs(10);

/// And so seldom that writing them takes at most a twentieth of the time.
const SHARE: u32 = 20;

/// A table that survives in snapshots.
pub trait Persist: Row {
    /// The record of a row; `None` for rows that are not imported.
    fn record(&self) -> Option<(ClusterName, String, Vec<u8>)>;

    /// The row of a record, marked as restored.
    fn restored(cluster: ClusterName, name: &str, value: &[u8]) -> Option<Self>;
}

/// Why a table starts empty.
#[derive(Debug, thiserror::Error)]
#[error("rows of {table} from before the restart are not known")]
pub struct SnapshotError {
    table: &'static str,
    #[source]
    source: DiskError,
}

/// Writes the rows of the snapshot in `folder` into the table; how many. They stay until their cluster's import has
/// its first full list. Call it before that import starts.
///
/// # Errors
///
/// [`SnapshotError`] when the file is there and damaged: the table then starts empty.
pub fn restore<R: Persist>(folder: &Path, writer: &Writer<R>) -> Result<usize, SnapshotError> {
    let error = |source| SnapshotError { table: R::TABLE, source };
    let records = disk::load(&path::<R>(folder), R::TABLE).map_err(error)?;
    let rows: Vec<R> = records.iter().filter_map(|record| parse(record)).collect();
    let count = rows.len();
    writer.write(|txn| {
        for row in rows {
            if txn.get(&row.key()).is_none() {
                txn.upsert(row);
            }
        }
    });
    Ok(count)
}

/// Writes snapshots of the table into `folder` until the future is dropped.
pub async fn save_loop<R: Persist>(folder: PathBuf, reader: Reader<R>) {
    let path: Arc<Path> = path::<R>(&folder).into();
    let mut watch = reader.watch();
    loop {
        watch.changed().await;
        // Before the wait, a burst; after it, its outcome.
        tokio::time::sleep(INTERVAL).await;
        let (snapshot, file) = (reader.snapshot(), Arc::clone(&path));
        let start = std::time::Instant::now();
        let saved = tokio::task::spawn_blocking(move || {
            let records: Vec<Vec<u8>> = snapshot.iter().filter_map(record).collect();
            disk::save(&file, R::TABLE, &records)
        });
        match saved.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(table = R::TABLE, %error, "rows would not survive a restart"),
            Err(error) => tracing::error!(table = R::TABLE, %error, "snapshot task failed"),
        }
        tokio::time::sleep((start.elapsed() * SHARE).saturating_sub(INTERVAL)).await;
    }
}

fn path<R: Row>(folder: &Path) -> PathBuf {
    folder.join(format!("{}.snap", R::TABLE))
}

fn record<R: Persist>(row: &RowRef<R>) -> Option<Vec<u8>> {
    let (cluster, name, value) = row.record()?;
    Some([cluster.as_str().as_bytes(), b"\0", name.as_bytes(), b"\0", &value].concat())
}

fn parse<R: Persist>(record: &[u8]) -> Option<R> {
    let mut parts = record.splitn(3, |byte| *byte == 0);
    let (cluster, name) = (std::str::from_utf8(parts.next()?).ok()?, std::str::from_utf8(parts.next()?).ok()?);
    R::restored(ClusterName::try_new(cluster).ok()?, name, parts.next()?)
}

impl Persist for NodeRow {
    fn record(&self) -> Option<(ClusterName, String, Vec<u8>)> {
        let node = &self.node;
        (node.source != Source::Local).then(|| (node.cluster.clone(), node.name.to_string(), wire::node::encode(node)))
    }

    fn restored(_: ClusterName, name: &str, value: &[u8]) -> Option<Self> {
        let mut node = wire::node::decode("snapshot", name, value).ok()?;
        node.source = Source::Restored;
        Some(Self { node: Arc::new(node) })
    }
}

impl Persist for IpClaim {
    fn record(&self) -> Option<(ClusterName, String, Vec<u8>)> {
        Some((self.origin.cluster.clone(), self.entry.prefix.to_string(), wire::ip::encode(&self.entry)))
    }

    fn restored(cluster: ClusterName, name: &str, value: &[u8]) -> Option<Self> {
        let entry = wire::ip::decode("snapshot", name, value).ok()?;
        Some(Self { origin: Origin::new(Source::Restored, cluster), entry })
    }
}

impl Persist for Identity {
    fn record(&self) -> Option<(ClusterName, String, Vec<u8>)> {
        let imported = !self.id.is_reserved() && self.origin.source != Source::Local;
        imported.then(|| (self.origin.cluster.clone(), self.id.to_string(), wire::identity::encode(&self.labels)))
    }

    fn restored(cluster: ClusterName, name: &str, value: &[u8]) -> Option<Self> {
        let (id, labels): (NumericIdentity, _) = wire::identity::decode("snapshot", name, value).ok()?;
        Some(Self { id, labels, origin: Origin::new(Source::Restored, cluster), create_revision: 0 })
    }
}

impl Persist for RemoteService {
    fn record(&self) -> Option<(ClusterName, String, Vec<u8>)> {
        let service = &self.service;
        Some((service.cluster.clone(), service.name.to_string(), wire::service::encode(service)))
    }

    fn restored(_: ClusterName, name: &str, value: &[u8]) -> Option<Self> {
        Some(Self { service: Arc::new(wire::service::decode("snapshot", name, value).ok()?) })
    }
}

impl Persist for RemoteSlice {
    fn record(&self) -> Option<(ClusterName, String, Vec<u8>)> {
        let slice = &self.slice;
        Some((slice.cluster.clone(), slice.name.to_string(), wire::endpoint_slice::encode(slice)))
    }

    fn restored(_: ClusterName, name: &str, value: &[u8]) -> Option<Self> {
        Some(Self { slice: Arc::new(wire::endpoint_slice::decode("snapshot", name, value).ok()?) })
    }
}
