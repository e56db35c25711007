//! The embedded store: an etcd v3 server.
//!
//! ```text
//!  sockets ──> edge (gRPC, HTTP) ──requests──> driver (one thread) ──> core (raft, MVCC, leases, watch hub)
//!                 ^                              │   ^                     │ effects
//!                 └──answers, watch responses────┘   └──timers, syncs──────┘
//!                                                │
//!                                                └──> disk (WAL, checkpoints)
//! ```
//! The core has no clock, socket, task, disk or random source. The driver owns the disk and the timers; one sync serves
//! every request that waits. The edge turns bytes into requests and back.

mod config;
mod core;
mod disk;
mod driver;
mod edge;
mod identity;
mod metrics;
pub mod pb;
mod server;
pub mod snapshot;
mod status;

pub use config::Config;
pub use driver::{AutoCompaction, RecoverError, Stopped};
pub use edge::ListenError;
pub use server::{Server, StartError};
pub use status::ETCD_VERSION;
