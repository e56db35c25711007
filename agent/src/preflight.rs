//! What must hold before an agent touches anything: options that fit together, a kernel that can, directories that are
//! ours. A refusal here leaves nothing behind.
//!
//! Deliberately absent: whether etcd answers. An agent starts without one.

mod directory;
mod port;
mod range;

use anyhow::{Context, Result, bail, ensure};
use model::{ClusterId, ClusterIdLayout};
use netlink::Netlink;

use crate::Args;

pub(crate) use directory::Held;
pub(crate) use range::pod_range;

/// `sun_path` less its terminating zero.
const MAX_SOCKET_PATH: usize = 107;

/// Checks everything, then takes the directories; they are held while the result lives.
pub(crate) fn check(args: &Args, netlink: &mut Netlink) -> Result<Held> {
    let places = [("--state-dir", &args.state_dir), ("--lib-dir", &args.lib_dir)];
    let owner = directory::Owner { cluster: args.cluster_name.to_string(), id: args.cluster_id.get() };
    for (option, path) in places {
        directory::check(option, path, &owner)?;
    }
    if !crate::ranges::are_handed_out(args) {
        crate::node::own(args)?;
        ranges(args, netlink)?;
    }
    kvstore::Options::parse(&args.kvstore_opt)?.check()?;
    // Before anything that a first agent of the same node has already taken: its pid is the answer.
    directory::not_running(&args.socket_path)?;
    directory::not_held("--bpf-root", &args.bpf_root)?;
    features(args)?;
    port::check(args.tunnel_port, netlink)?;
    for address in std::iter::once(args.agent_health_addr).chain(args.prometheus_serve_addr) {
        std::net::TcpListener::bind(address).with_context(|| format!("listen on {address}"))?;
    }
    directory::take(&places, &owner)
}

/// Whether pods can have addresses of the ranges, those of pods that are there included.
pub(crate) fn ranges(args: &Args, netlink: &mut Netlink) -> Result<()> {
    range::check(args)?;
    // Read only: an agent that cannot go on with the addresses in use must not begin.
    ipam::Ipam::open(args.ipv4_range.into_iter().chain(args.ipv6_range), &args.state_dir.join("ipam.json"))?;
    range::check_against_node(args, netlink)
}

/// What the options must say together; the layout of identity numbers.
pub(crate) fn layout(args: &Args) -> Result<ClusterIdLayout> {
    model::check_cluster(&args.cluster_name, args.cluster_id)?;
    let layout = args.max_connected_clusters;
    if args.cluster_id != ClusterId::NONE {
        layout.check(args.cluster_id).context("--cluster-id")?;
    }
    options(args)?;
    Ok(layout)
}

fn options(args: &Args) -> Result<()> {
    if args.kvstore != "etcd" {
        bail!("--kvstore {:?} is not supported; supported is etcd", args.kvstore);
    }
    let length = args.socket_path.as_os_str().len();
    ensure!(
        length <= MAX_SOCKET_PATH,
        "--socket-path has {length} bytes, and the kernel takes at most {MAX_SOCKET_PATH}: choose a shorter one"
    );
    range::check(args)
}

/// The kernel's and this process's means, as one line with a mark for each.
fn features(args: &Args) -> Result<()> {
    let features = datapath::features(&args.bpf_root);
    if features.iter().all(|feature| feature.missing.is_none()) {
        return Ok(());
    }
    let marked = |feature: &datapath::Feature| match &feature.missing {
        None => format!("✓ {}", feature.name),
        Some(why) => format!("✗ {} ({why})", feature.name),
    };
    let list: Vec<String> = features.iter().map(marked).collect();
    bail!("the datapath needs what this kernel or this process lacks: {}", list.join(", "))
}
