//! A server of ours as clients and strangers meet it: its sockets, its TLS, its small services. What it answers to
//! requests for keys is compared with etcd in `differential`.
#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]
#![expect(clippy::disallowed_methods, reason = "the tasks of a test end with it")]

mod alarms;
mod bad_connections;
mod certificates;
mod concurrency;
mod downgrade;
mod peer;
mod reload;
mod rules;
mod server;
mod starting;
mod stock;
mod tls;
mod users;
