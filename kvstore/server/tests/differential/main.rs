//! Differential test: the same requests to etcd and to this store, and every answer compared.
#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod admin;
mod answer;
mod cases;
mod coverage;
mod differences;
mod found;
mod generate;
mod lies;
mod lockstep;
mod older;
mod op;
mod pages;
mod peer;
mod permissions;
mod print;
mod random;
mod request;
mod servers;
mod shrink;
mod stock;
mod stream;
mod ties;
mod waiting;
