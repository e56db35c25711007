//! Cilium's own packages beside ours, in one store: what either writes the other reads, byte for byte.
//!
//! The other side is `target/peers/interop-cilium` (`tests/interop/cilium-kvstore`). Each check prints how many objects of
//! each kind it compared, and has a twin: one planted value that must turn it red.

mod fleet;
mod history;
mod mirror;
mod peer;
mod race;
mod reads;
mod tables;
mod writes;
