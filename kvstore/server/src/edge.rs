//! The server's sockets: gRPC over HTTP/2, and the small HTTP/1 pages, on the same ports.
//!
//! Deliberately absent: any state. A request is decoded, asked of the store, and its answer is sent as it comes.

mod auth;
mod codec;
mod concurrency;
mod connection;
mod counted;
mod door;
mod gathered;
mod grpc;
mod health;
mod lean;
mod listener;
mod maintenance;
mod outbox;
mod pages;
mod principal;
mod probes;
mod reflection;
mod tls;
mod unary;
mod watch;
mod workers;

#[cfg(test)]
mod fuzz;

pub(crate) use connection::Served;
pub(crate) use door::{Door, ENDS, Peer};
pub use listener::ListenError;
pub(crate) use listener::Listener;
pub(crate) use outbox::{Framer, Outbox};
pub(crate) use tls::{REASONS as HANDSHAKE_FAILURES, Tls, generate};
pub use tls::{TlsConfig, TlsError, TlsVersion};
pub(crate) use workers::Workers;
