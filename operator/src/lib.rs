//! The operator: what a cluster does once, whoever of its operators leads.
//!
//! ```text
//!   lock causeway/v1/<cluster>/leader ──> leader ──┬── heartbeat        at once, then each minute    leased
//!                                                  ├── cluster-config   enforced by meaning          no lease
//!                                                  ├── identities       unused numbers are collected
//!                                                  ├── locks            stuck ones are removed
//!                                                  ├── nodes            those that no lease ends, when dead
//!                                                  ├── ranges           of pod addresses, to nodes that ask   no lease
//!   services + backends ──exports──────────────────┴── global services  with prune by the leader     no lease
//! ```
//! Every candidate follows its cluster's state and computes what it would write; only the leader writes. Who loses the
//! lock's lease stops at once. Keys without a lease survive a day without an operator; the next leader collects what is
//! stale, but not before it has seen every source.
//!
//! Deliberately absent: service exports of the MCS API, endpoint slices, and everything of the datapath.

mod args;
mod cluster_config;
mod collector;
mod heartbeat;
mod leader;
mod node_gc;
mod process;
mod ranges;
mod services;
mod sweeper;

pub use args::Args;
pub use cluster_config::{Enforcer, REFILL_WINDOW};
pub use collector::Pace;
pub use process::{Config, run, start};
