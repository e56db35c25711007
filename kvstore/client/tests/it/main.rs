//! One suite of behaviour for every backend, and what only a real etcd can show.
#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod connections;
mod fake;
mod relay;
mod server;
mod servers;
mod suite;
mod tls;
