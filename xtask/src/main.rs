//! Set-up, eBPF build, demo, test, bench, tidy.
fn main() {}
