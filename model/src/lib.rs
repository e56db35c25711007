//! Vocabulary: the nouns of Cilium's control plane, as plain values.
//!
//! Who writes: `wire`, `k8s` and `cni` build these from outside input; tables hold them; controllers
//! turn them into one another. A newtype is made through `try_new`, `FromStr` or a total
//! conversion, so a value that exists obeys its rules.
//!
//! Deliberately absent: serde (only `wire` and `api` know encodings), async, I/O, clocks, and any
//! knowledge of etcd's keys or of eBPF map layouts.

mod backend;
mod cidr;
mod cluster;
mod drop_reason;
mod endpoint_slice;
mod event;
mod fixed_identity;
mod global_service;
mod identity;
mod ip_entry;
mod ip_texts;
mod label;
mod label_filter;
mod labels;
mod name;
mod named_ports;
mod node;
mod pod;
mod pod_range;
mod port;
mod prefix;
mod protocol;
mod reserved;
mod rule;
mod selector;
mod service;
mod source;

pub use backend::{Backend, BackendState};
pub use cidr::{CidrPeer, Families, prefix_of};
pub use cluster::{ClusterId, ClusterIdLayout, ClusterName, InvalidCluster, check_cluster};
pub use drop_reason::DropReason;
pub use endpoint_slice::{EndpointSlice, SERVICE_NAME, SliceEndpoint, SlicePort};
pub use event::{DatapathEvent, EventKind, EventTuple, MatchType, TracePoint, TraceReason, Verdict};
pub use fixed_identity::{FixedIdentities, InvalidFixedIdentity};
pub use global_service::{GlobalService, PortMap, ZoneHints};
pub use identity::{IdentityScope, NumericIdentity};
pub use ip_entry::IpEntry;
pub use ip_texts::{IpNames, IpTexts};
pub use label::{InvalidLabel, Label};
pub use label_filter::{InvalidLabelRule, LabelFilter};
pub use labels::Labels;
pub use name::{EndpointId, InvalidName, NodeName, ServiceName};
pub use named_ports::{NamedPort, NamedPorts};
pub use node::{AddressKind, Node, NodeAddress};
pub use pod::PodFacts;
pub use pod_range::{DEFAULT_POOL, PodRange, RangeDemand, Wanted};
pub use port::{L3n4Addr, PortProto};
pub use prefix::{InvalidPrefix, Prefix};
pub use protocol::{Protocol, UnknownProtocol};
pub use reserved::ReservedIdentity;
pub use rule::{DefaultDeny, Direction, Entity, Peer, Rule, RuleEntry, RuleResource};
pub use selector::{InvalidSelector, Operator, Requirement, Selector, SelectorKey};
pub use service::{Affinity, Service, ServicePort, Sharing, TargetPort};
pub use source::Source;

/// Well-known label keys that identities are built from.
pub mod keys {
    pub const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
    pub const NAMESPACE_LABELS: &str = "io.cilium.k8s.namespace.labels.";
    pub const NAMESPACE_NAME: &str = "io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name";
    pub const POLICY_PREFIX: &str = "io.cilium.k8s.policy.";
    pub const POLICY_CLUSTER: &str = "io.cilium.k8s.policy.cluster";
    /// A pod's wish for one of the numbers that users may fix.
    pub const FIXED_IDENTITY: &str = "io.cilium.fixed-identity";
    pub const POLICY_SERVICE_ACCOUNT: &str = "io.cilium.k8s.policy.serviceaccount";
}
