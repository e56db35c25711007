//! The ranges of this node's pods: given by options, or handed out by the operator (`--ipam=cluster-pool`, `multi-pool`).
//!
//! ```text
//!   ipam: addresses in use and asked for ──demand──> ipam/requests/<node> ──operator──> ipam/nodes/<node> ──> own_node ──> ipam
//! ```
//! What was handed out once is on disk, so that an agent starts without a store. It asks all its life: who does not ask,
//! has no key and no address left loses its ranges in the end. Ranges are added while it runs, and none is taken away.

mod demand;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use kvstore::{Backend, Event, Leases, Range, follow};
use model::{ClusterName, DEFAULT_POOL, NodeName, PodRange};
use parking_lot::Mutex;
use statedb::Writer;
use tables::Export;
use tokio::sync::watch;
use wire::own;

use crate::Args;

pub use demand::PreAllocation;

/// Between two looks while the first answer is waited for, and between two at what pods need.
const EVERY: Duration = Duration::from_secs(1);

/// Said again this often.
const PATIENCE: u32 = 15;

const STATIC: &str = "static";
const MULTI: &str = "multi-pool";

/// Whether ranges are handed out.
pub(crate) fn are_handed_out(args: &Args) -> bool {
    args.ipam != STATIC
}

/// Whether pods may name pools, and ranges are added as they are needed.
pub(crate) fn of_pools(args: &Args) -> bool {
    args.ipam == MULTI
}

/// The options with the ranges that this node has, and all of them; waits for the operator the first time.
///
/// # Errors
///
/// When options do not fit together, or the store cannot be used.
pub(crate) async fn resolve(args: &Args) -> Result<(Args, Vec<PodRange>)> {
    if !are_handed_out(args) {
        return Ok((args.clone(), Vec::new()));
    }
    let ipam = &args.ipam;
    if args.ipv4_range.is_some() || args.ipv6_range.is_some() {
        bail!("--ipam={ipam} hands out the ranges: leave out --ipv4-range and --ipv6-range");
    }
    let path = path(args);
    let ranges = match load(&path)? {
        Some(ranges) => ranges,
        None => {
            let ranges = ask(args).await?;
            save(&path, &ranges).with_context(|| format!("write {}", path.display()))?;
            ranges
        }
    };
    let default = || ranges.iter().filter(|range| *range.pool == *DEFAULT_POOL).map(|range| range.cidr);
    let family = |ipv4| default().find(|range| range.is_ipv4() == ipv4);
    Ok((Args { ipv4_range: family(true), ipv6_range: family(false), ..args.clone() }, ranges))
}

/// What follows the ranges of a running agent.
pub(crate) struct Inputs {
    pub(crate) store: Arc<dyn Backend>,
    pub(crate) cluster: ClusterName,
    pub(crate) node: NodeName,
    pub(crate) file: PathBuf,
    pub(crate) pre_allocation: PreAllocation,
    pub(crate) ipam: Arc<Mutex<ipam::Ipam>>,
    pub(crate) exports: Writer<Export>,
    pub(crate) ranges: watch::Sender<Vec<PodRange>>,
}

/// Asks for what pods need, and takes what is given; runs until the future is dropped.
pub(crate) async fn run(inputs: Inputs) {
    let request: Arc<str> = own::ipam_request_key(&inputs.cluster, &inputs.node).into();
    let (mut follower, driver) = follow(Arc::clone(&inputs.store), own::ipam_node_key(&inputs.cluster, &inputs.node));
    let ask = async {
        let mut asked = None;
        loop {
            let demand = inputs.pre_allocation.demand(&inputs.ipam.lock());
            if asked.as_ref() != Some(&demand) {
                let value = own::encode_demand(&demand).into();
                inputs.exports.upsert(Export { key: Arc::clone(&request), value, leased: true });
                asked = Some(demand);
            }
            runtime::sleep(EVERY).await;
        }
    };
    let take = async {
        while let Some(events) = follower.next().await {
            for event in events {
                // A deleted key takes nothing: pods have addresses there, and the key is written again.
                let (Event::Created(kv) | Event::Modified(kv)) = event else { continue };
                inputs.take(&kv.key, &kv.value);
            }
        }
    };
    tokio::select! {
        () = driver => {}
        () = ask => {}
        () = take => {}
    }
}

// === impl Inputs ===

impl Inputs {
    /// Adds what is new; what the node has already stays, whatever is written.
    fn take(&self, key: &[u8], value: &[u8]) {
        if key != own::ipam_node_key(&self.cluster, &self.node).as_bytes() {
            return;
        }
        let Some(given) = own::decode_ranges(value) else {
            tracing::error!("the ranges that were handed out to this node cannot be read");
            return;
        };
        let mut ranges = self.ranges.borrow().clone();
        ranges.extend(given.into_iter().filter(|range| !self.ranges.borrow().contains(range)));
        if ranges.len() == self.ranges.borrow().len() {
            return;
        }
        // On disk first: a pod with an address of a range that a restarted agent does not know would lose it.
        if let Err(error) = save(&self.file, &ranges) {
            tracing::error!(%error, file = %self.file.display(), "new ranges are not used: they would be forgotten");
            return;
        }
        tracing::info!(ranges = %String::from_utf8_lossy(value), "ranges of pod addresses");
        self.ranges.send_replace(ranges);
    }
}

pub(crate) fn path(args: &Args) -> PathBuf {
    args.lib_dir.join("pod-ranges")
}

fn save(path: &Path, ranges: &[PodRange]) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let temporary = path.with_extension("tmp");
    std::fs::write(&temporary, own::encode_ranges(ranges))?;
    std::fs::File::open(&temporary)?.sync_all()?;
    std::fs::rename(&temporary, path)
}

fn load(path: &PathBuf) -> Result<Option<Vec<PodRange>>> {
    match std::fs::read(path) {
        Ok(bytes) => {
            let ranges = own::decode_ranges(&bytes).filter(|ranges| !ranges.is_empty());
            let ranges =
                ranges.with_context(|| format!("{} holds no ranges: remove it to ask again", path.display()))?;
            Ok(Some(ranges))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("read {}", Path::display(path))),
    }
}

/// Asks until there is an answer.
async fn ask(args: &Args) -> Result<Vec<PodRange>> {
    let (node, ipam) = (args.node()?, &args.ipam);
    let store = kvstore::Options::parse(&args.kvstore_opt)?.connect().await?;
    let leases = Leases::new(Arc::clone(&store) as Arc<dyn Backend>, args.kvstore_lease_ttl);
    let request = own::ipam_request_key(&args.cluster_name, &node);
    let wanted = match of_pools(args) {
        true => own::encode_demand(&args.ipam_multi_pool_pre_allocation.at_first()),
        false => ipam.clone().into_bytes(),
    };
    let answer = Range::key(own::ipam_node_key(&args.cluster_name, &node));
    for tries in 0.. {
        let asked = match tries % PATIENCE {
            // Also after the store lost it.
            0 => leases.put(request.clone().into(), wanted.clone().into()).await.map(drop),
            _ => Ok(()),
        };
        let found = match asked {
            Ok(()) => store.range(answer.clone()).await.map(|found| found.kvs.into_iter().next()),
            Err(error) => Err(error),
        };
        match found {
            Ok(Some(kv)) => {
                let ranges = own::decode_ranges(&kv.value).filter(|ranges| !ranges.is_empty());
                ensure!(ranges.is_some(), "the ranges that were handed out to this node cannot be read");
                tracing::info!(ranges = %String::from_utf8_lossy(&kv.value), "ranges of pod addresses");
                return Ok(ranges.unwrap_or_default());
            }
            Ok(None) if tries % PATIENCE == PATIENCE - 1 => {
                tracing::warn!("waiting for ranges of pod addresses: does the operator run with --ipam={ipam}?");
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(error = error.full(), "cannot ask for ranges of pod addresses"),
        }
        runtime::sleep(EVERY).await;
    }
    bail!("the operator was never asked")
}

#[cfg(test)]
mod tests {
    use kvstore::fake::Fake;

    use super::*;

    /// Ranges come while the agent runs, are kept on disk, and none is lost with its key.
    #[tokio::test(start_paused = true)]
    async fn a_node_asks_for_what_pods_need_and_keeps_what_it_got() {
        let folder = tempfile::tempdir().unwrap();
        let fake = Fake::new();
        let first = PodRange::new("default", "10.0.0.0/29".parse().unwrap());
        let ipam = ipam::Ipam::open([first.cidr], &folder.path().join("ipam.json")).unwrap();
        let ipam = Arc::new(Mutex::new(ipam));
        let ((exports, told), (ranges, mut seen)) = (statedb::table::<Export>(), watch::channel(vec![first]));
        let file = folder.path().join("pod-ranges");
        let inputs = Inputs {
            store: Arc::new(fake.clone()),
            cluster: "east".parse().unwrap(),
            node: "a".parse().unwrap(),
            file: file.clone(),
            pre_allocation: "default=2".parse().unwrap(),
            ipam: Arc::clone(&ipam),
            exports,
            ranges,
        };
        let story = async {
            let asks =
                |text: &'static str| told.wait_for(move |rows| rows.iter().any(|row| *row.value == *text.as_bytes()));
            asks("default=2/0").await;
            ipam.lock().allocate("pod", &ipam::PoolNames::default()).unwrap();
            asks("default=3/0").await;
            let blue = ipam::PoolNames { ipv4: "blue".into(), ..ipam::PoolNames::default() };
            assert!(ipam.lock().allocate("painted", &blue).is_err());
            asks("blue=1/0,default=3/0").await;
            let key = "causeway/v1/east/ipam/nodes/a";
            fake.put(key.into(), "10.0.0.0/29,blue=10.5.0.0/28".into(), None).await.unwrap();
            seen.wait_for(|ranges| ranges.len() == 2).await.unwrap();
            fake.delete(key.into()).await.unwrap();
            fake.put(key.into(), "10.9.0.0/29".into(), None).await.unwrap();
            seen.wait_for(|ranges| ranges.len() == 3).await.unwrap();
            let saved = load(&file).unwrap().unwrap();
            assert_eq!(own::encode_ranges(&saved), b"10.0.0.0/29,blue=10.5.0.0/28,10.9.0.0/29");
        };
        tokio::select! {
            () = run(inputs) => panic!("it ended"),
            done = tokio::time::timeout(Duration::from_secs(60), story) => done.expect("it asks and takes"),
        }
    }
}
