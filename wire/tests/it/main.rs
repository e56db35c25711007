//! Byte formats against bytes that Cilium wrote, and decoders against bytes that nobody should write.
#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod built;
mod corpus;
mod golden;
mod round_trip;
mod store;
