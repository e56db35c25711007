//! The ranges of this node's pods: given by options, or handed out by the operator (`--ipam=cluster-pool`).
//!
//! What was handed out once is on disk, so that an agent starts without a store. It asks all its life: who does not ask,
//! has no key and no address left loses its ranges in the end.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use kvstore::{Backend, Leases, Range};
use model::Prefix;
use wire::own;

use crate::Args;

/// Between two looks while the first answer is waited for.
const EVERY: Duration = Duration::from_secs(1);

/// Said again this often.
const PATIENCE: u32 = 15;

const POOL: &str = "cluster-pool";

/// Whether ranges are handed out.
pub(crate) fn are_handed_out(args: &Args) -> bool {
    args.ipam == POOL
}

/// The options with the ranges that this node has; waits for the operator the first time.
///
/// # Errors
///
/// When options do not fit together, or the store cannot be used.
pub(crate) async fn resolve(args: &Args) -> Result<Args> {
    if !are_handed_out(args) {
        return Ok(args.clone());
    }
    if args.ipv4_range.is_some() || args.ipv6_range.is_some() {
        bail!("--ipam={POOL} hands out the ranges: leave out --ipv4-range and --ipv6-range");
    }
    let path = args.lib_dir.join("pod-ranges");
    let ranges = match load(&path)? {
        Some(ranges) => ranges,
        None => {
            let ranges = ask(args).await?;
            let failed = || format!("write {}", path.display());
            std::fs::create_dir_all(&args.lib_dir).with_context(failed)?;
            std::fs::write(&path, own::encode_ranges(&ranges)).with_context(failed)?;
            ranges
        }
    };
    let family = |ipv4| ranges.iter().copied().find(|range| range.is_ipv4() == ipv4);
    Ok(Args { ipv4_range: family(true), ipv6_range: family(false), ..args.clone() })
}

fn load(path: &PathBuf) -> Result<Option<Vec<Prefix>>> {
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
async fn ask(args: &Args) -> Result<Vec<Prefix>> {
    let node = args.node()?;
    let store = kvstore::Options::parse(&args.kvstore_opt)?.connect().await?;
    let leases = Leases::new(Arc::clone(&store) as Arc<dyn Backend>, args.kvstore_lease_ttl);
    let request = own::ipam_request_key(&args.cluster_name, &node);
    let answer = Range::key(own::ipam_node_key(&args.cluster_name, &node));
    for tries in 0.. {
        let asked = match tries % PATIENCE {
            // Also after the store lost it.
            0 => leases.put(request.clone().into(), POOL.into()).await.map(drop),
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
                tracing::warn!("waiting for ranges of pod addresses: does the operator run with --ipam={POOL}?");
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(error = error.full(), "cannot ask for ranges of pod addresses"),
        }
        runtime::sleep(EVERY).await;
    }
    bail!("the operator was never asked")
}
