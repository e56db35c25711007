//! An etcd prefix becomes a table, a table becomes etcd keys.
//!
//! ```text
//!   prefix ──follow──> Core (decode, quarantine, hold, doubt) ──> rows        nodes ips identities services
//!                        ├── a key that breaks a rule          ──> rejected
//!                        └── a mass delete, an unknown store   ──> alarms
//!   exports ──reconciler──> Exporter ──> keys: leased or not, put again when lost or changed by others
//!   rows ──every 10 s at most──> a snapshot on disk ──at start──> rows of source `restored`
//! ```
//! One import follows one prefix of one cluster's store; our own cluster and remote ones differ in their [`Origin`] and
//! in what they may say. Every row is tagged with it, and an import touches rows of its own cluster only.
//!
//! Fail static: a row goes when a delete is proven, and not before. Losing the store changes nothing here.
//!
//! Deliberately absent: connections and their lifecycle, and any opinion on what a row means.
//!
//! [`Origin`]: tables::Origin

mod border;
mod core;
mod decode;
mod driver;
mod export;
mod health;
mod heartbeat;
mod identities;
mod ips;
mod metrics;
mod nodes;
mod propagation;
mod services;
mod slices;
mod snapshot;
mod store_metrics;

pub use self::core::{Core, DAMP_FREE, DAMP_WINDOW, Effect, HOLD, HOLD_MIN_KEYS, HOLD_WINDOW};
pub use border::{Border, BorderVersion};
pub use decode::{Decode, Decoded, Held};
pub use driver::Import;
pub use export::Exporter;
pub use health::{Evidence, Freshness, SourceAge, StoreHealth};
pub use identities::IdentityDecode;
pub use ips::IpDecode;
pub use metrics::Metrics;
pub use nodes::NodeDecode;
pub use propagation::{Mark, Propagation};
pub use services::ServiceDecode;
pub use slices::SliceDecode;
pub use snapshot::{Persist, SnapshotError, restore, save_loop};
pub use store_metrics::observe_store;
