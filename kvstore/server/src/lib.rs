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

mod core;
mod disk;
pub mod pb;
