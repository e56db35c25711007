//! What a restarted agent takes over: endpoints whose interfaces are still there.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};
use netlink::Netlink;
use tables::Endpoint;

/// The endpoints to go on with. Those whose interface is gone, or whose delete CNI queued while no agent ran, give
/// their addresses back.
pub(crate) fn endpoints(
    folder: &Path,
    delete_queue: &Path,
    ipam: &mut ipam::Ipam,
    netlink: &mut Netlink,
) -> Result<Vec<Endpoint>> {
    let (rows, bad) = endpoint::disk::load(folder).context("restore endpoints")?;
    for error in bad {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        tracing::error!(%error, cause, "endpoint is not restored; its pod keeps its last state until it is deleted");
    }
    let queued = queued_deletes(delete_queue);
    let mut kept = Vec::new();
    for row in rows {
        let link = netlink.find_link(&row.host_ifname).context("look for the interfaces of pods")?;
        let there = link.is_some_and(|link| link.index == row.host_ifindex);
        let attachment = format!("cni-attachment-id:{}:{}", row.container_id, row.container_ifname);
        if there && !queued.contains(&attachment) {
            kept.push(row);
            continue;
        }
        let pod = format!("{}/{}", row.namespace, row.pod_name);
        tracing::info!(endpoint = %row.id, pod, interface = %row.host_ifname, "endpoint is gone");
        if let Err(error) = endpoint::disk::remove(folder, row.id) {
            tracing::warn!(%error, "endpoint file stays behind");
        }
        for ip in row.ips() {
            ipam.release(ip).with_context(|| format!("give {ip} back"))?;
        }
    }
    // Each delete was carried out, or its endpoint never came to be.
    if let Err(error) = std::fs::remove_dir_all(delete_queue)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(%error, queue = %delete_queue.display(), "queue of deletes stays behind");
    }
    Ok(kept)
}

fn queued_deletes(queue: &Path) -> BTreeSet<String> {
    let files = std::fs::read_dir(queue).into_iter().flatten().flatten();
    files.filter_map(|file| std::fs::read_to_string(file.path()).ok()).map(|text| text.trim().to_owned()).collect()
}
