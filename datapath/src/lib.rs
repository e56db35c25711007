//! Desired rows become eBPF maps, links, routes and devices; packets' events become values.
//!
//! ```text
//!   tables ──> Reconciler ── plan (pure) ── apply ──> Kernel (pins, or a fake) ──> maps, programs at pod interfaces
//!   nodes  ──> routes                                                             ring buffer ──> Events ──> monitor
//!   Config ──> devices, load (once at start)                                      pinned maps ──> dumps for the CLI
//! ```
//! Programs and maps are pinned and outlive the process: stopping removes nothing, and a restart
//! replaces programs in place. Only [`cleanup`] takes things away. It never reads etcd, knows no
//! labels and decides no policy.

mod addr;
mod carry;
mod cleanup;
mod config;
pub mod conntrack;
mod describe;
pub mod devices;
pub mod driver;
pub mod dump;
mod error;
pub mod events;
mod features;
mod journal;
pub mod kernel;
mod load;
mod map_id;
pub mod measure;
mod metrics;
mod pins;
pub mod plan;
mod reconcile;
mod routes;
mod sys;

pub use cleanup::{Cleaned, cleanup};
pub use config::{Config, Timeouts};
pub use error::Error;
pub use features::{Feature, features};
pub use journal::{Journal, Listener, MapEvent, Seen, Written};
pub use load::{Cost, Datapath, Program};
pub use map_id::MapId;
pub use metrics::PacketMetrics;
pub use pins::{HOST_DEVICE, NET_DEVICE, VXLAN_DEVICE};
pub use reconcile::{GcStatus, Overflow, Reconciler, Status, Tables};
pub use sys::{TestRun, test_run};
