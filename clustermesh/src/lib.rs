//! Other clusters' stores: connection, handshake, validation, and an import of each of their prefixes.
//!
//! ```text
//!   directory (a file per cluster) ──> Remote ──Core──> connect ──> config ──> canaries ──> gates open
//!                                        │                                                    │
//!                                        └── one connection ──Gate (per prefix)──> reflector imports ──> tables
//! ```
//! The imports outlive the connection: behind their gate a store is replaced, and their list-watch asks the new one to
//! prove that it is the old. So a lost cluster changes nothing, a reconnect costs what has changed, and a store that was
//! wiped deletes nothing until it is believed.
//!
//! What the user asks for is no loss: a removed file drains the cluster at once. So does a cluster that comes back with
//! another id, because all its identities mean something else.
//!
//! A remote cluster is untrusted: it may speak only of its own name, id and identity range, claim no address that is ours
//! or a third cluster's (`border`), and stay within quotas.
//!
//! A cluster's backends are read as services or as endpoint slices, whichever it exports and is preferred.
//!
//! Deliberately absent: service exports, and any write to a remote store.

mod border;
mod core;
mod directory;
mod driver;
mod gate;
mod ids;
mod remote;
mod service_mode;

pub use self::core::{Core, Effect, Phase, RESOURCES};
pub use border::{MAX_CLUSTER_BACKENDS, MAX_SERVICE_BACKENDS};
pub use directory::{Directory, RemoteFile};
pub use driver::{Connect, Options, Tables, etcd_connector, run};
pub use gate::Gate;
pub use ids::{Ids, Own, Refused};
pub use service_mode::ServiceMode;
