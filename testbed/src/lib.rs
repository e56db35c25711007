//! A mesh on one machine: namespaces for nodes, pods and stores, processes in them, probes between them.
//!
//! ```text
//!   Plan (pure: names, addresses) ──> Bed (namespaces, links, etcd, agents, operators, pods) ──> proofs
//!                                       └── Ledger: everything that was made, on disk before it is made
//! ```
//! Each node, store and pod has a network namespace of its own; nodes and stores are joined by one bridge, in a
//! namespace too, so that any link can be cut and nothing touches the machine's own network. Programs under test run
//! as their users run them: as processes, through their command lines. Nothing of them is linked in here.

mod bed;
mod binaries;
pub mod capture;
pub mod demo;
pub mod flow;
pub mod hostile;
mod ledger;
mod manifests;
mod network;
mod plan;
mod pod;
mod process;
pub mod server;
mod store;
pub mod stream;

pub use bed::{Bed, Parts};
pub use binaries::Binaries;
pub use ledger::{Ledger, Leftovers, take_down};
pub use manifests::{Labels, Manifests};
pub use network::Network;
pub use plan::{ClusterPlan, NodePlan, Plan};
pub use pod::{Pod, PodSpec};
pub use process::{Process, run, wait_until};
pub use store::{Store, StoreKind};
