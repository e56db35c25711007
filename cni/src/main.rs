//! The CNI plugin: a small synchronous binary.
fn main() {}
