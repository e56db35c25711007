//! The datapath against the real kernel: programs on packets made by hand, maps, restarts, and
//! traffic between namespaces. Needs root; without it each test says so and passes, unless CI=true.

#![expect(clippy::unwrap_used, reason = "a test")]

mod cluster;
mod conntrack;
mod drops;
mod explained;
mod fixture;
mod lifecycle;
mod monitor;
mod packet;
mod plan;
mod services;
mod walks;
