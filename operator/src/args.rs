//! The operator's options; names are Cilium's where it has one.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ipam::ClusterPool;
use model::{ClusterId, ClusterIdLayout, ClusterName, Prefix};

use crate::Pace;

/// Run the operator of this cluster
#[derive(Debug, Clone, clap::Args)]
#[command(args_override_self = true)]
pub struct Args {
    /// Directory with a file per option, as a mounted ConfigMap
    #[arg(long)]
    pub config_dir: Option<PathBuf>,
    /// Name of the cluster
    #[arg(long, default_value = "default")]
    pub cluster_name: ClusterName,
    /// Number of the cluster, 1 to 255 (511 with --max-connected-clusters=511); 0 for no mesh
    #[arg(long, default_value = "0")]
    pub cluster_id: ClusterId,
    /// Clusters that one mesh can have: 255 or 511
    #[arg(long, default_value = "255")]
    pub max_connected_clusters: ClusterIdLayout,
    /// Key-value store: etcd
    #[arg(long, default_value = "etcd", value_parser = ["etcd"])]
    pub kvstore: String,
    /// Options of the store: etcd.address=URL or etcd.config=FILE, etcd.qps=N, etcd.maxInflight=N
    #[arg(long, default_value = "")]
    pub kvstore_opt: String,
    /// How long leased keys outlive their writer
    #[arg(long, default_value = "15m", value_parser = kvstore::lease_ttl)]
    pub kvstore_lease_ttl: Duration,
    /// How often identities that nobody uses are collected; one goes when two rounds found it unused
    #[arg(long, default_value = "15m", value_parser = time)]
    pub identity_gc_interval: Duration,
    /// The time in which at most --identity-gc-rate-limit identities are collected
    #[arg(long, default_value = "1m", value_parser = time)]
    pub identity_gc_rate_interval: Duration,
    /// Identities that are collected within --identity-gc-rate-interval at most
    #[arg(long, default_value_t = 2500, value_parser = clap::value_parser!(u32).range(1..))]
    pub identity_gc_rate_limit: u32,
    /// How often nodes are looked for that no lease ends, and that are dead; 0 for never
    #[arg(long, default_value = "5m", value_parser = time_or_never)]
    pub nodes_gc_interval: Duration,
    /// Who gives nodes the ranges of their pods: cluster-pool and multi-pool hand them out, the latter also of the pools of
    /// CiliumPodIPPool objects; static leaves it to the nodes
    #[arg(long, default_value = "static", value_parser = ["static", "cluster-pool", "multi-pool"])]
    pub ipam: String,
    /// IPv4 ranges of the cluster's pods: the default pool
    #[arg(long, value_delimiter = ',')]
    pub cluster_pool_ipv4_cidr: Vec<Prefix>,
    /// How large a node's share of them is
    #[arg(long, default_value_t = 24)]
    pub cluster_pool_ipv4_mask_size: u8,
    /// IPv6 ranges of the cluster's pods
    #[arg(long, value_delimiter = ',')]
    pub cluster_pool_ipv6_cidr: Vec<Prefix>,
    /// How large a node's share of them is
    #[arg(long, default_value_t = 112)]
    pub cluster_pool_ipv6_mask_size: u8,
    /// Directory of Kubernetes manifests, followed live
    #[arg(long)]
    pub k8s_manifests: Option<PathBuf>,
    /// Address of /healthz, /readyz and /metrics
    #[arg(long, default_value = "127.0.0.1:9234")]
    pub operator_api_serve_addr: SocketAddr,
    /// A further address of /metrics; none without it
    #[arg(long)]
    pub operator_prometheus_serve_addr: Option<SocketAddr>,
    /// How the operator logs
    #[command(flatten)]
    pub log: runtime::LogOptions,
}

// === impl Args ===

impl Args {
    /// How identities are collected.
    pub fn identity_gc(&self) -> Pace {
        Pace {
            interval: self.identity_gc_interval,
            rate_interval: self.identity_gc_rate_interval,
            rate_limit: self.identity_gc_rate_limit,
        }
    }

    /// What nodes are given ranges of by options; none without `--ipam=cluster-pool` or `--ipam=multi-pool`.
    ///
    /// # Errors
    ///
    /// When there is nothing to give, or it cannot be cut as is said.
    pub fn pools(&self) -> Result<Vec<ClusterPool>> {
        if self.ipam == "static" {
            return Ok(Vec::new());
        }
        let ipv4 = ClusterPool::try_new(self.cluster_pool_ipv4_cidr.clone(), self.cluster_pool_ipv4_mask_size, true);
        let ipv6 = ClusterPool::try_new(self.cluster_pool_ipv6_cidr.clone(), self.cluster_pool_ipv6_mask_size, false);
        let pools = [ipv4.context("--cluster-pool-ipv4-cidr")?, ipv6.context("--cluster-pool-ipv6-cidr")?];
        let pools: Vec<ClusterPool> = pools.into_iter().filter(|pool| !pool.is_empty()).collect();
        ensure!(
            !pools.is_empty() || self.ipam == "multi-pool",
            "--ipam=cluster-pool: give --cluster-pool-ipv4-cidr, --cluster-pool-ipv6-cidr or both"
        );
        Ok(pools)
    }
}

/// A time of a second at least: rounds without a pause would be an attack on the store.
fn time(text: &str) -> Result<Duration, String> {
    let time = kvstore::duration(text).ok_or_else(|| format!("{text:?} is not a duration such as 15m or 90s"))?;
    if time < Duration::from_secs(1) { Err(format!("{text} is shorter than 1s")) } else { Ok(time) }
}

fn time_or_never(text: &str) -> Result<Duration, String> {
    if text == "0" { Ok(Duration::ZERO) } else { time(text) }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn defaults_work_and_bounds_hold() {
        let args = Command::try_parse_from(["operator"]).unwrap().args;
        assert_eq!(args.kvstore_lease_ttl, Duration::from_secs(900));
        assert_eq!(args.operator_api_serve_addr.port(), 9234);
        assert_eq!(args.identity_gc(), Pace::default());
        for bad in [
            "--kvstore-lease-ttl=24s",
            "--kvstore-lease-ttl=25h",
            "--kvstore=consul",
            "--cluster-id=512",
            "--identity-gc-interval=0",
        ] {
            assert!(Command::try_parse_from(["operator", bad]).is_err(), "{bad}");
        }
    }
}
