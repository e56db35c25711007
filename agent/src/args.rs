//! The agent's options; names are Cilium's where it has one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::preflight;
use model::{ClusterId, ClusterIdLayout, ClusterName, FixedIdentities, LabelFilter, Prefix};

/// Run the agent of this node
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
    /// Name of this node [default: $K8S_NODE_NAME, else the host name]
    #[arg(long, env = "K8S_NODE_NAME")]
    pub node_name: Option<String>,
    /// Key-value store: etcd
    #[arg(long, default_value = "etcd")]
    pub kvstore: String,
    /// Options of the store: etcd.address=URL or etcd.config=FILE, etcd.qps=N, etcd.maxInflight=N
    #[arg(long, default_value = "")]
    pub kvstore_opt: String,
    /// How long our keys outlive us
    #[arg(long, default_value = "15m", value_parser = kvstore::lease_ttl)]
    pub kvstore_lease_ttl: Duration,
    /// Directory of client files, one a remote cluster, named like it
    #[arg(long)]
    pub clustermesh_config: Option<PathBuf>,
    /// How remote clusters' backends are read: prefer-legacy (as services), prefer-endpointslice, only-endpointslice
    #[arg(long, default_value = "prefer-legacy")]
    pub clustermesh_service_v2: clustermesh::ServiceMode,
    /// Directory of Kubernetes manifests, followed live
    #[arg(long)]
    pub k8s_manifests: Option<PathBuf>,
    /// Where the ranges of this node's pods come from: cluster-pool and multi-pool hand them out, the latter more of them as
    /// pods need them and of pools that pods name; static has them from options
    #[arg(long, default_value = "static", value_parser = ["static", "cluster-pool", "multi-pool"])]
    pub ipam: String,
    /// Addresses that are kept ready beyond those in use, by pool: pool=number,..., for --ipam=multi-pool; 0 for others
    #[arg(long, default_value = "default=8")]
    pub ipam_multi_pool_pre_allocation: crate::ranges::PreAllocation,
    /// IPv4 range of this node's pods
    #[arg(long, value_parser = preflight::pod_range)]
    pub ipv4_range: Option<Prefix>,
    /// IPv6 range of this node's pods
    #[arg(long, value_parser = preflight::pod_range)]
    pub ipv6_range: Option<Prefix>,
    /// IPv4 range of the cluster's Services, which no pod may have an address in; auto: not known
    #[arg(long, default_value = "auto")]
    pub ipv4_service_range: String,
    /// IPv6 range of the cluster's Services
    #[arg(long, default_value = "auto")]
    pub ipv6_service_range: String,
    /// This node's IPv4 address on the underlay [default: the address of --devices]
    #[arg(long)]
    pub ipv4_node: Option<Ipv4Addr>,
    /// This node's IPv6 address on the underlay
    #[arg(long)]
    pub ipv6_node: Option<Ipv6Addr>,
    /// The device of the underlay [default: the one that has the node's address, else the default route's]
    #[arg(long)]
    pub devices: Option<String>,
    /// Underlay protocol of the tunnel: ipv4
    #[arg(long, default_value = "ipv4", value_parser = underlay)]
    pub underlay_protocol: String,
    /// UDP port of the tunnel
    #[arg(long, default_value_t = 8472, value_parser = clap::value_parser!(u16).range(1..))]
    pub tunnel_port: u16,
    /// When policy is enforced: default, always, never
    #[arg(long, default_value = "default")]
    pub enable_policy: policy::EnablePolicy,
    /// Report what policy would drop, and let it pass
    #[arg(long, default_value_t = false, num_args = 0..=1, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub policy_audit_mode: bool,
    /// Rows that the policy of one identity may take in the kernel
    #[arg(long, default_value_t = 16_384, value_parser = clap::value_parser!(u32).range(256..=65_536))]
    pub bpf_policy_map_max: u32,
    /// Peer selectors that name no cluster mean our own
    #[arg(long, default_value_t = true, num_args = 0..=1, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub policy_default_local_cluster: bool,
    /// Whether the host always reaches its own pods: auto, always, policy
    #[arg(long, default_value = "auto", value_parser = ["auto", "always", "policy"])]
    pub allow_localhost: String,
    /// How many trace events are left out: none, low, medium, maximum
    #[arg(long, default_value = "medium", value_parser = ["none", "low", "medium", "maximum"])]
    pub monitor_aggregation: String,
    /// Be this node although another machine holds its name or its address
    #[arg(long)]
    pub take_over: bool,
    /// Which labels make a pod's identity, beside Cilium's defaults: [source:][!]expression, with blanks between rules
    #[arg(long, default_value = "")]
    pub labels: LabelFilter,
    /// Identities that pods ask for by label io.cilium.fixed-identity: number=name,..., numbers from 128 to 255
    #[arg(long, default_value = "")]
    pub fixed_identity_mapping: FixedIdentities,
    /// Checks of the store's quorum that may fail in a row before the agent says that it has failed
    #[arg(long, default_value_t = 2)]
    pub kvstore_max_consecutive_quorum_errors: u32,
    /// Socket of the local API
    #[arg(long, default_value = api::paths::SOCKET)]
    pub socket_path: PathBuf,
    /// Files that need not outlive a reboot
    #[arg(long, default_value = "/var/run/causeway/state")]
    pub state_dir: PathBuf,
    /// Files that must
    #[arg(long, default_value = "/var/lib/causeway")]
    pub lib_dir: PathBuf,
    /// Where maps, links and programs are pinned
    #[arg(long, default_value = "/sys/fs/bpf/causeway")]
    pub bpf_root: PathBuf,
    /// Address of /healthz and /readyz
    #[arg(long, default_value = "127.0.0.1:9879")]
    pub agent_health_addr: SocketAddr,
    /// Address of /metrics; none without it
    #[arg(long)]
    pub prometheus_serve_addr: Option<SocketAddr>,
    /// How the agent logs
    #[command(flatten)]
    pub log: runtime::LogOptions,
}

// === impl Args ===

impl Args {
    /// The node's name.
    ///
    /// # Errors
    ///
    /// When there is none, or it is no name.
    pub fn node(&self) -> anyhow::Result<model::NodeName> {
        let name = match &self.node_name {
            Some(name) => name.clone(),
            None => std::fs::read_to_string("/proc/sys/kernel/hostname")?.trim().to_owned(),
        };
        Ok(model::NodeName::try_new(&name)?)
    }

    /// What names this node in slave keys: IPv4 where there is one.
    pub fn node_ip(&self) -> anyhow::Result<IpAddr> {
        let ip = self.ipv4_node.map(IpAddr::V4).or(self.ipv6_node.map(IpAddr::V6));
        ip.ok_or_else(|| anyhow::anyhow!("the node's address is not known: give --ipv4-node"))
    }
}

fn underlay(text: &str) -> Result<String, String> {
    match text {
        "ipv4" => Ok(text.to_owned()),
        "ipv6" => Err("an IPv6 underlay is not built yet; IPv6 pods ride over ipv4".to_owned()),
        other => Err(format!("{other:?} is not ipv4")),
    }
}
