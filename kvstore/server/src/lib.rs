//! The embedded store: an etcd v3 server.
//!
//! ```text
//!  sockets ──> edge (gRPC, HTTP) ──requests──> desk: core (raft, MVCC, leases, watch hub) behind a lock
//!                 ^  └──────reads answered at once──┘  │                ^
//!                 │                                    v                │ what is on disk is applied
//!                 └──mailboxes: answers, watch ─── driver (one thread: timers, syncs) ──> disk (WAL, checkpoints)
//! ```
//! The core has no clock, socket, task, disk or random source. The driver owns the disk and the timers; one sync serves
//! every request that waits, and the lock is free while it lasts. The edge turns bytes into requests and back.
//!
//! Who asks is the edge's to say, from a token or a certificate; what each may is part of the state, and is asked when a
//! request comes and again when it is applied.

mod audit;
mod backups;
#[doc(hidden)]
pub mod bare;
mod config;
mod core;
mod disk;
mod driver;
mod edge;
mod identity;
mod metrics;
mod passwords;
pub mod pb;
mod server;
pub mod snapshot;
mod status;
mod tokens;

pub use backups::Backups;
pub use config::{Config, TlsSource};
pub use driver::{AutoCompaction, RecoverError, Stopped};
pub use edge::{ListenError, TlsConfig, TlsError, TlsVersion};
pub use server::{Server, StartError};
pub use status::ETCD_VERSION;
pub use tokens::TokenError;
